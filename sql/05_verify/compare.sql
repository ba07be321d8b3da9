-- Comparing with the last recorded run: a chain alone shows neither that its end was cut off nor that it was hashed
-- again to its end. A run recorded the last row of each chain, and that row must still be there.

create function _compare_with_last_run(result chain_verdict) returns chain_verdict
language plpgsql stable
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
declare
  head     record;
  stored   text;
  tail_id  bigint;
begin
  begin
    select h.* into strict head from _verified_heads() as h where h.table_name = result.table_name;
  exception
    when no_data_found then
      return result;
    when others then
      -- verification_runs has a verdict of its own, and does not take away this one.
      result.detail := format('%s; not compared with the last verification run: %s (%s)',
                             result.detail, sqlerrm, sqlstate);
      return result;
  end;
  execute format('select (select t.row_hash::text from only %1$I as t where t.id = $1),'
                 ' (select max(t.id) from only %1$I as t)', result.table_name)
    into stored, tail_id using head.last_id;
  if stored = head.row_hash or head.last_id <= (_proven_start(result.table_name)).id then
    return result;
  end if;
  result.expected_hash := head.row_hash;
  result.actual_hash := stored;
  if stored is not null then
    result.broken_id := head.last_id;
    result := _with_verdict(result, 'checkpoint_mismatch',
      format('row %s is not the one that verification run %s read there', head.last_id, head.run_id));
  else
    result.broken_id := least(coalesce(tail_id, 0) + 1, head.last_id);
    result := _with_verdict(result, 'tail_missing',
      format('rows %s to %s, which verification run %s read, are missing',
             result.broken_id, head.last_id, head.run_id));
  end if;
  -- By a release since that run. New rows may by now stand where the chain had lost its end.
  if exists (
    select from _acknowledged_if_known() as a
    where a.table_name = result.table_name and a.release_id > head.lockdown_event
      and (a.id = result.broken_id::text and a.actual_hash is not distinct from result.actual_hash
           or a.verdict = 'tail_missing' and a.actual_hash is null
              and case when a.id ~ '^[0-9]{1,18}$' then a.id::bigint <= result.broken_id end)) then
    return _with_verdict(result, 'acknowledged',
                         format('%s: %s; acknowledged by a lockdown release', result.verdict, result.detail));
  end if;
  return result;
end
$function$;
comment on function _compare_with_last_run is
  'Turns a good verdict into tail_missing or checkpoint_mismatch if the row that ended the last verification run is '
  'gone or another.';
