-- Recording the guards as they are now: what a row of guard_states may say, and who may add one.

create function _check_guard_state() returns trigger
language plpgsql security definer
set search_path from current
set quote_all_identifiers = off
as $function$
declare
  facts jsonb;
begin
  select jsonb_agg(jsonb_build_array(f.table_name, f.object_kind, f.object_name, f.fact, f.value)
                   order by f.object_kind collate "C", f.object_name collate "C", f.fact collate "C") into facts
  from guard_facts() as f;
  if new.facts <> facts or new.state_hash::text <> encode(sha256(convert_to(facts::text, 'UTF8')), 'hex') then
    perform _refuse(
      'AUD-011', 'guard_states would say of the guards what does not hold',
      format('%s tried to insert it.', session_user),
      'select record_guards(''reason'') records the guards as they are.', tg_argv[0], tg_op);
  end if;
  new.facts := facts;
  new.state_hash := encode(sha256(convert_to(facts::text, 'UTF8')), 'hex');
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
