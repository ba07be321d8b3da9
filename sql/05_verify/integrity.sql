create function verify_range(
  table_name text, from_id bigint default null, to_id bigint default null, engage_lockdown boolean default true
) returns chain_verdict
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  result chain_verdict;
begin
  if _is_registered() then
    perform _chain_or_error(table_name);
  end if;
  perform _check_range(from_id, to_id);
  if to_id is null then
    perform _attend_alarm_if_possible(engage_lockdown);
  end if;
  result := _judge_range_if_possible(table_name, from_id, to_id);
  if result.error_code = 'AUD-009' then
    result.detail := result.detail || '; ' || _lockdown_over(jsonb_build_array(_damage_of(result)), engage_lockdown);
  end if;
  return result;
end
$function$;
comment on function verify_range is
  'Verifies one chain or a range of ids of it, without the guards; ranges can be verified side by side. Proven damage engages the lockdown unless engage_lockdown is false.';

create function verify_chain_integrity(
  table_name text default null, from_id bigint default null, to_id bigint default null, engage_lockdown boolean default true
) returns setof chain_verdict
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  chain    record;
  result   chain_verdict;
  damage   jsonb := '[]';
  results  chain_verdict[] := '{}';
  guards   jsonb;
  unknown  text;
  outcome  text;
begin
  if not _is_registered() then
    return next verify_range(table_name, from_id, to_id, engage_lockdown);
    return;
  end if;
  perform _chain_or_error(table_name) where table_name is not null;
  perform _check_range(from_id, to_id);
  perform _attend_alarm_if_possible(engage_lockdown);
  -- Guards belong to the whole, not to a range of rows.
  if from_id is null and to_id is null then
    begin
      select jsonb_object_agg(g.table_name, g.problems) into guards from changed_guards() as g;
    exception
      when undefined_table or undefined_function or undefined_object or undefined_column then
        guards := jsonb_build_object('guard_states', format('what compares the guards is gone: %s', sqlerrm));
      when others then
        unknown := format('the guards could not be compared: %s (%s)', sqlerrm, sqlstate);
    end;
  end if;
  for chain in
    select c.table_name from only chains as c
    where verify_chain_integrity.table_name is null or c.table_name = verify_chain_integrity.table_name
    order by c.position
  loop
    result := _judge_range_if_possible(chain.table_name, from_id, to_id);
    if result.error_code = 'AUD-009' then
      damage := damage || _damage_of(result);
    elsif (result.is_valid or result.verdict = 'not_run') and guards ? chain.table_name then
      -- What cannot be read because somebody changed its guards is told as that.
      result.detail := concat_ws('; ', guards ->> chain.table_name, case when result.verdict = 'not_run' then 'not verified: ' || result.detail end);
      result.is_valid := false;
      result.error_code := 'AUD-011';
      result.verdict := 'guard_changed';
    elsif result.is_valid and unknown is not null and (chain.table_name = 'guard_states' or verify_chain_integrity.table_name is not null) then
      result.is_valid := null;
      result.verdict := 'not_run';
      result.detail := unknown;
    elsif result.verdict = 'intact' and from_id > 1 and result.rows_checked = 0 then
      result.is_valid := null;
      result.verdict := 'not_there';
      result.detail := format('0 rows; rows from %s on are not there: %s ends before', from_id, chain.table_name);
    end if;
    results := results || result;
  end loop;
  if damage <> '[]' then
    outcome := _lockdown_over(damage, engage_lockdown);
  end if;
  foreach result in array results loop
    if result.error_code = 'AUD-009' then
      result.detail := result.detail || '; ' || outcome;
    end if;
    return next result;
  end loop;
end
$function$;
comment on function verify_chain_integrity is
  'Verifies all chains, one, or a range of ids, a row for each table. Proven damage engages the lockdown unless engage_lockdown is false.';
