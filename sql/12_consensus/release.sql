-- Releasing the lockdown: the proposal must list exactly the damage that is there
--
-- Reading the damage means reading all chains, which takes long and must not happen under the lock. So propose() and
-- vote() read it before they take the lock. New damage that is found meanwhile raises another alarm (a sequence, see
-- 08_lockdown): the vote that would complete the quorum remembers the alarm from before it read, and gives up if
-- another has been raised since. The release lifts that one alarm and no later one.

create function _open_damage_items() returns jsonb
language sql stable
set search_path from current
as $function$
  select coalesce(jsonb_agg(jsonb_build_object('table', d."table", 'id', d.id, 'verdict', d.verdict,
                                               'actual_hash', d.actual_hash, 'expected_hash', d.expected_hash)), '[]')
  from open_damage() as d;
$function$;
comment on function _open_damage_items is
  'The damage that is there, as a release must list it.';

create function _refuse_other_damage(listed jsonb, damage jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  too_many  text;
  too_few   text;
begin
  perform _refuse_missing_tables(damage);
  select string_agg(x.value::text, ', ') into too_many
  from (select e.value from (select l.value from jsonb_array_elements(listed) as l
                             except all select d.value from jsonb_array_elements(damage) as d) as e limit 5) as x;
  select string_agg(x.value::text, ', ') into too_few
  from (select e.value from (select d.value from jsonb_array_elements(damage) as d
                             except all select l.value from jsonb_array_elements(listed) as l) as e limit 5) as x;
  if too_many is not null or too_few is not null then
    perform _refuse_consensus(
      'RSK-005', 'a release lists exactly the damage that is there',
      concat_ws(' ', 'Listed, but not there: ' || too_many || '.', 'There, but not listed: ' || too_few || '.'),
      'List it (alpha-db lockdown release does; from psql: select * from damaged_rows()), and propose again.');
  end if;
end
$function$;
comment on function _refuse_other_damage is
  'Raises RSK-005 unless a release lists all damage that is there, and nothing else, and no table is gone.';

create function _look_before_release(proposal proposals, out alarm bigint, out damage jsonb)
language plpgsql
set search_path from current
as $function$
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'a lockdown is released in READ COMMITTED only, not in %',
      upper(current_setting('transaction_isolation'))
      using errcode = '0A000', detail = 'An older snapshot does not show the newest damage.',
            hint = 'Vote in a transaction of its own: begin isolation level read committed.';
  end if;
  if (select count(*) from _counted_approvals(proposal)) + 1
     < _approvals_needed(proposal, _current_state_text()::jsonb) then
    return;
  end if;
  -- First the alarm, then the damage.
  alarm := pg_sequence_last_value('lockdown_alarm'::regclass);
  damage := _open_damage_items();
  if not exists (select from only lockdown_events as l
                 where l.event_type::text = 'ENGAGED'::text and l.alarm = _look_before_release.alarm) then
    perform _refuse_consensus(
      'RSK-005', 'the alarm that stands is not recorded as an event yet', 'Its event is not written yet.',
      'Run select * from verify_chain_integrity(), which records it; look at what it finds, and vote again.');
  end if;
end
$function$;
comment on function _look_before_release is
  'Before the lock of a vote that would complete a release: the alarm that stands, and the damage that is there; '
  'nulls if the vote would not complete it. Raises RSK-005 for an alarm without an event, 0A000 in other isolation '
  'levels.';

create function _refuse_changed_damage(proposal proposals, alarm bigint, damage jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  if damage is null or alarm is distinct from pg_sequence_last_value('lockdown_alarm'::regclass) then
    raise exception 'could not serialize access: others voted, or found damage, at the same time'
      using errcode = '40001', hint = 'Run the transaction again.';
  end if;
  perform _refuse_other_damage(proposal.payload -> 'damage', damage);
end
$function$;
comment on function _refuse_changed_damage is
  'Raises 40001 if what _look_before_release saw has changed, RSK-005 if the release lists other damage.';
