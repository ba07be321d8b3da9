-- Guards: is everything that protects the log as it was installed? This table holds what is compared with.
--
-- The chapter: texts.sql and scope.sql say how things are printed and which are ours; facts_*.sql ask one catalogue
-- each; facts.sql puts all facts together and explains how they survive dump and upgrade; verify.sql compares.
-- The trigger below calls guard_facts(), which facts.sql makes.

create table guard_states (
  id           bigserial    not null,
  reason       text         not null,
  recorded_by  text         not null,
  facts        jsonb        not null,
  state_hash   char(64)     not null,
  counters     jsonb        not null,
  row_hash     char(64)     not null,
  created_at   timestamptz  not null,
  constraint guard_states_pkey primary key (id),
  constraint guard_states_reason_is_given check (btrim(reason) <> '')
);
comment on table  guard_states             is
  'The guards as each migration left them. Append-only and chained; verify_guards compares with the last row.';
comment on column guard_states.id          is 'Position in the chain.';
comment on column guard_states.reason      is 'The migration that ended so, or why somebody accepted this state.';
comment on column guard_states.recorded_by is 'The login that recorded it.';
comment on column guard_states.facts       is 'Array of [table, kind of object, object, fact, value].';
comment on column guard_states.state_hash  is 'SHA-256 of the text of facts.';
comment on column guard_states.counters    is 'Where the sequences stood that never go back: {"attempts_…": 3}.';
comment on column guard_states.row_hash    is 'SHA-256 of the previous row_hash and this row.';
comment on column guard_states.created_at  is 'When the state was recorded.';

create function _check_guard_state() returns trigger
language plpgsql security definer
set search_path from current
set quote_all_identifiers = off
as $function$
declare
  facts       constant jsonb := _guard_facts_json();
  state_hash  constant text := encode(sha256(convert_to(facts::text, 'UTF8')), 'hex');
begin
  if new.facts <> facts or new.state_hash::text <> state_hash then
    perform _refuse(
      'AUD-011', 'a state was refused, because the guards are not so',
      format('%s tried to insert it.', session_user),
      'Record the guards as they are with select record_guards(''reason'').', tg_argv[0], tg_op);
  end if;
  new.facts := facts;
  new.state_hash := state_hash;
  new.counters := _counters();
  return new;
end
$function$;
comment on function _check_guard_state is
  'Row trigger of guard_states: records the guards as they are now, and refuses (AUD-011) a row that says otherwise. '
  'Argument: table.';

create function record_guards(reason text) returns bigint
language sql security definer
set search_path from current
as $function$
  insert into guard_states (reason) values (record_guards.reason) returning id;
$function$;
comment on function record_guards is
  'Records the guards as they are now as the state to compare with, and says why; returns the id of the row of '
  'guard_states. Only the owner may call it.';
