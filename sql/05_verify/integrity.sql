-- What users call: a verdict for each chain, the guards beside it, and the lockdown over damage.
--
-- Damage engages the lockdown before the verdict is returned, so the caller's detail says what came of it. The lockdown
-- itself is explained at the top of 08_lockdown/engage.sql.

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
  perform _attend_alarm(wanted);  -- 08_lockdown/attend.sql
exception when others then
  null;  -- lockdown_events or its alarm was dropped: that gets a verdict, and must hide no other one
end
$function$;
comment on function _attend_alarm_if_possible is 'As _attend_alarm; nothing if what it needs was dropped.';

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
  return _engage_lockdown(  -- 08_lockdown/engage.sql
    concat_ws(' ', damage -> 0 ->> 'verdict', 'at', damage -> 0 ->> 'table', damage -> 0 ->> 'id'), damage);
exception when others then
  return format('the lockdown is NOT engaged: %s (%s)', sqlerrm, sqlstate);
end
$function$;
comment on function _lockdown_over is
  'Engages the lockdown over proven damage, if it is wanted and this session can write, and says what came of it.';

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
  'Verifies one chain or a range of ids of it, without the guards; ranges can be verified side by side. Proven damage '
  'engages the lockdown unless engage_lockdown is false.';

create function _guards_if_known(out problems jsonb, out unknown text)
language plpgsql stable
set search_path from current
as $function$
begin
  select coalesce(jsonb_object_agg(g.table_name, g.problems), '{}') into problems from changed_guards() as g;
exception
  when undefined_table or undefined_function or undefined_object or undefined_column then
    problems := jsonb_build_object('guard_states', format('what compares the guards is gone: %s', sqlerrm));
  when others then
    unknown := format('the guards could not be compared: %s (%s)', sqlerrm, sqlstate);
end
$function$;
comment on function _guards_if_known is
  'The rows of changed_guards() as {table: problems}; or why they could not be compared.';

create function _judge_guards(result chain_verdict, problems text, unknown text) returns chain_verdict
language sql immutable
set search_path from current
as $function$
  -- What cannot be read because somebody changed its guards is reported as that.
  select case
    when problems is not null and (result.is_valid or result.verdict = 'not_run') then
      _with_verdict(result, 'guard_changed', concat_ws('; ', problems,
                    case when result.verdict = 'not_run' then 'not verified: ' || result.detail end), 'AUD-011')
    when unknown is not null and result.is_valid then _with_verdict(result, 'not_run', unknown)
    else result end;
$function$;
comment on function _judge_guards is
  'Turns a verdict into guard_changed if the guards of its table are not as recorded, a good one into not_run if that '
  'is not known.';

create function verify_chain_integrity(
  table_name text default null, from_id bigint default null, to_id bigint default null,
  engage_lockdown boolean default true
) returns setof chain_verdict
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  chain    record;
  guards   record;
  result   chain_verdict;
  results  chain_verdict[] := '{}';
  damage   jsonb := '[]';
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
  select g.* into guards from _guards_if_known() as g where from_id is null and to_id is null;
  for chain in
    select c.table_name from only chains as c
    where verify_chain_integrity.table_name is null or c.table_name = verify_chain_integrity.table_name
    order by c.position
  loop
    result := _judge_range_if_possible(chain.table_name, from_id, to_id);
    if result.error_code = 'AUD-009' then
      damage := damage || _damage_of(result);
    elsif result.verdict = 'intact' and from_id > 1 and result.rows_checked = 0 then
      result := _with_verdict(result, 'not_there', format('0 rows; rows from %s on are not there: %s ends before',
                                                          from_id, chain.table_name));
    else
      -- What nobody knows of the guards is said once: with guard_states, or with the one table that was asked for.
      result := _judge_guards(result, guards.problems ->> chain.table_name,
        case when chain.table_name = 'guard_states' or table_name is not null then guards.unknown end);
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
  'Verifies all chains, one, or a range of ids, a row for each table. Proven damage engages the lockdown unless '
  'engage_lockdown is false.';
