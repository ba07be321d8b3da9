-- Guards: is everything that protects the log as it was installed? This table holds what is compared with.
--
-- The chapter: texts.sql and scope.sql say how things are printed and which are ours; facts_*.sql ask one catalogue
-- each; facts.sql puts all facts together and explains how they survive dump and upgrade; record.sql and verify.sql
-- record a state and compare with it.

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
