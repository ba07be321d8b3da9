-- A verdict in every case. What cannot be checked is "not_run": neither reported as fine nor as tampered.
--
-- Verification has to work best when somebody damaged the installation, so it must not depend on all of it. Each call
-- that may fail because a table or a function is gone stands in a block of its own: _judge_range catches what
-- verify_chain and the comparisons raise, _judge_range_if_possible what the absence of _judge_range raises.

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
    result := _compare_with_consensus(result);  -- 08_lockdown/damage.sql
  end if;
  if result.is_valid and to_id is null and table_name = 'table_changes' then
    result := _compare_with_histories(result);  -- 15_history/verify.sql, which makes that table, too
  end if;
  return result;
exception when others then
  return _verdict(table_name, 'not_run', format('%s (%s)', sqlerrm, sqlstate));
end
$function$;
comment on function _judge_range is
  'The verdict on one chain or a range of it; not_run if it cannot be checked. A range without an end is compared with '
  'the last verification run, too.';

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
    return _verdict('chains', 'table_missing', 'the register of the chains is gone: it says which tables are chained, '
                                               'so nothing can be verified without it');
  end if;
  return _judge_range(table_name, from_id, to_id);
exception when others then
  return _verdict(table_name, 'not_run', format('%s (%s)', sqlerrm, sqlstate));
end
$function$;
comment on function _judge_range_if_possible is
  'As _judge_range; not_run if that function was dropped, and damage of the table chains if that was.';
