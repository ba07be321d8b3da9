create function _compare_with_last_run(found_here chain_verdict) returns chain_verdict
language plpgsql stable
set search_path from current
set row_security = off
set enable_seqscan = off
as $function$
declare
  head     record;
  stored   text;
  tail_id  bigint;
begin
  begin
    select h.* into strict head from _verified_heads() as h where h.table_name = found_here.table_name;
  exception
    when no_data_found then
      return found_here;
    when others then
      -- verification_runs has a verdict of its own, and does not take away this one.
      found_here.detail := format('%s; not compared with the last verification run: %s (%s)', found_here.detail, sqlerrm, sqlstate);
      return found_here;
  end;
  execute format('select (select t.row_hash::text from only %1$I as t where t.id = $1), (select max(t.id) from only %1$I as t)', found_here.table_name)
    into stored, tail_id using head.last_id;
  if stored = head.row_hash then
    return found_here;
  end if;
  found_here.expected_hash := head.row_hash;
  found_here.actual_hash := stored;
  if stored is not null then
    found_here.verdict := 'checkpoint_mismatch';
    found_here.broken_id := head.last_id;
    found_here.detail := format('row %s is not the one that verification run %s read there', head.last_id, head.run_id);
  else
    found_here.verdict := 'tail_missing';
    found_here.broken_id := least(coalesce(tail_id, 0) + 1, head.last_id);
    found_here.detail := format('rows %s to %s, which verification run %s read, are missing', found_here.broken_id, head.last_id, head.run_id);
  end if;
  -- By a release since that run: what it lost at its end may have been written anew by now.
  if exists (select from _acknowledged_if_known() as a
             where a.table_name = found_here.table_name and a.release_id > head.lockdown_event
               and (a.id = found_here.broken_id::text and a.actual_hash is not distinct from found_here.actual_hash
                    or a.verdict = 'tail_missing' and a.actual_hash is null and case when a.id ~ '^[0-9]{1,18}$' then a.id::bigint <= found_here.broken_id end)) then
    found_here.detail := format('%s: %s; acknowledged by a lockdown release', found_here.verdict, found_here.detail);
    found_here.verdict := 'acknowledged';
  else
    found_here.is_valid := false;
    found_here.error_code := 'AUD-009';
  end if;
  return found_here;
end
$function$;
comment on function _compare_with_last_run is
  'Turns a good verdict into tail_missing or checkpoint_mismatch if the row that ended the last verification run is gone or another: a chain alone cannot see either.';

create function _judge_range(table_name text, from_id bigint, to_id bigint) returns chain_verdict
language plpgsql
set search_path from current
set row_security = off
as $function$
declare
  result    chain_verdict;
  compared  chain_verdict;
begin
  result := verify_chain(table_name, from_id, to_id);
  if result.is_valid and to_id is null then
    result := _compare_with_last_run(result);
  elsif result.verdict = 'not_there' then
    -- What the last run read, and is not there now, is missing.
    compared := result;
    compared.is_valid := true;
    compared := _compare_with_last_run(compared);
    if not compared.is_valid then
      result := compared;
    end if;
  end if;
  if result.is_valid and to_id is null and table_name in ('lockdown_events', 'risk_change_log') then
    result := _compare_with_consensus(result);
  end if;
  return result;
exception when others then
  -- Not being able to check is neither "fine" nor "tampered".
  result := row(table_name, 0, null, null, null, null, 'not_run', null, null, null, sqlerrm || ' (' || sqlstate || ')');
  return result;
end
$function$;
comment on function _judge_range is
  'The verdict on one chain or a range of it; not_run if it cannot be checked. A range without an end is compared with the last verification run, too.';

create function _is_registered() returns boolean
language sql stable
set search_path from current
as $function$
  select to_regclass(format('%I.chains', current_schema())) is not null;
$function$;
comment on function _is_registered is 'Whether the table chains, which says what is chained, is there.';

create function _judge_range_if_possible(table_name text, from_id bigint, to_id bigint) returns chain_verdict
language plpgsql
set search_path from current
as $function$
begin
  if not _is_registered() then
    return row('chains', 0, null, null, false, 'AUD-009', 'table_missing', null, null, null,
               'the register of the chains is gone: it says which tables are chained, so nothing can be verified without it')::chain_verdict;
  end if;
  return _judge_range(table_name, from_id, to_id);
exception when others then
  return row(table_name, 0, null, null, null, null, 'not_run', null, null, null, sqlerrm || ' (' || sqlstate || ')')::chain_verdict;
end
$function$;
comment on function _judge_range_if_possible is
  'As _judge_range; not_run if that function was dropped, and damage of the table chains if that was.';

create function _damage_item(table_name text, id bigint, verdict text, actual_hash text, expected_hash text) returns jsonb
language sql immutable
set search_path from current
as $function$
  select jsonb_build_object('table', _damage_item.table_name, 'id', _damage_item.id, 'verdict', _damage_item.verdict,
                            'actual_hash', _damage_item.actual_hash, 'expected_hash', _damage_item.expected_hash);
$function$;
comment on function _damage_item is
  'A damaged place as it stands in lockdown_events.damage and in the payload of a release.';

create function _damage_of(verdict chain_verdict) returns jsonb
language sql immutable
set search_path from current
as $function$
  select _damage_item(verdict.table_name, verdict.broken_id, verdict.verdict, verdict.actual_hash, verdict.expected_hash);
$function$;
comment on function _damage_of is 'A verdict as an item of lockdown_events.damage.';

create function _lockdown_over(damage jsonb, wanted boolean) returns text
language plpgsql
set search_path from current
as $function$
begin
  if not coalesce(wanted, true) then
    return 'lockdown not asked for';
  elsif pg_is_in_recovery() or current_setting('transaction_read_only') = 'on' then
    return 'this session cannot write, so the lockdown is NOT engaged';
  end if;
  return _engage_lockdown(concat_ws(' ', damage -> 0 ->> 'verdict', 'at', damage -> 0 ->> 'table', damage -> 0 ->> 'id'), damage);
exception when others then
  return format('the lockdown is NOT engaged: %s (%s)', sqlerrm, sqlstate);
end
$function$;
comment on function _lockdown_over is 'Engages the lockdown over proven damage, if it is wanted and this session can write, and says what came of it.';

create function _check_range(from_id bigint, to_id bigint) returns void
language plpgsql immutable
set search_path from current
as $function$
begin
  if from_id < 1 or to_id < coalesce(from_id, 1) then
    raise exception 'not a range of ids: % to %', from_id, to_id using errcode = '22023';
  end if;
end
$function$;
comment on function _check_range is 'Raises 22023 for what is no range of ids.';

create function _attend_alarm_if_possible(wanted boolean) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _attend_alarm(wanted);
exception when others then null;  -- lockdown_events or its alarm was dropped: that is found below, and nothing else is hidden by it
end
$function$;
comment on function _attend_alarm_if_possible is 'As _attend_alarm; nothing if what it needs was dropped.';
