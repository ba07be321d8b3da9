create function verify_chain(table_name text, from_id bigint default null, to_id bigint default null) returns chain_verdict
language plpgsql
set search_path from current
set row_security = off
set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1 set intervalstyle = 'postgres'
set enable_seqscan = off set enable_sort = off set enable_bitmapscan = off set jit = off
as $function$
declare
  first_id     bigint := coalesce(from_id, -9223372036854775808);
  last_id      bigint := coalesce(to_id, 9223372036854775807);
  before_id    bigint;
  before_hash  text;
  before_time  timestamptz;
  found_here   chain_verdict;
  places       bigint;
  first_place  jsonb;
  known        bigint;
  tail_id      bigint;
  tail_time    timestamptz;
  ahead        text;
  first_lost   bigint;
begin
  perform _chain_or_error(table_name);
  found_here.detail := _missing_part(table_name);
  if found_here.detail is not null then
    return row(table_name, 0, null, null, false, 'AUD-009', 'table_missing', null, null, null, found_here.detail)::chain_verdict;
  end if;
  begin
    execute format('select t.id, t.row_hash::text, t.created_at from only %I as t where t.id < $1 order by t.id desc limit 1', table_name)
      into before_id, before_hash, before_time using first_id;
    execute _chain_check_sql(table_name)
      into found_here.rows_checked, found_here.first_id, found_here.last_id, places, tail_time
      using first_id, last_id, coalesce(before_hash, chain_genesis(table_name)), coalesce(before_id, 0), coalesce(before_time, '-infinity');
  exception when invalid_parameter_value then
    execute format(
      'select count(*), min(p.at_id), max(p.at_id), count(p.verdict) from (%s) as p', _chain_places_sql(table_name))
      into found_here.rows_checked, found_here.first_id, found_here.last_id, places
      using first_id, last_id, chain_genesis(table_name);
  end;
  tail_id := found_here.last_id;
  if tail_time is null or tail_id < to_id then
    execute format('select t.id, t.created_at from only %I as t order by t.id desc limit 1', table_name) into tail_id, tail_time;
  end if;
  if to_id is null then
    ahead := _ahead_of_clock(tail_time);
  end if;
  found_here.table_name := table_name;
  found_here.is_valid := true;
  found_here.verdict := 'intact';
  found_here.detail := concat_ws('; ', format('%s rows', found_here.rows_checked), ahead);
  -- The row behind the last one is where a run goes on that read to the end: there is nothing yet, and nothing is missing.
  if places = 0 and (case when to_id is null then coalesce(from_id <= coalesce(tail_id, 0) + 1, true) else found_here.last_id = to_id end) then
    return found_here;
  end if;
  -- Damage is rare, so only then is the range read a second time.
  with
  acknowledged as materialized (select a.* from _acknowledged_if_known() as a),
  damage as (
    select f.id, _damage_item(f.damaged_table, f.id, f.verdict, f.actual_hash, f.expected_hash) || jsonb_build_object('detail', f.detail) as place,
           exists (select from acknowledged as a
                   where a.table_name = f.damaged_table and a.id = f.id::text and a.verdict = f.verdict
                     and a.actual_hash is not distinct from f.actual_hash
                     and a.expected_hash is not distinct from f.expected_hash) as is_known
    from find_chain_damage(verify_chain.table_name, from_id, to_id) as f)
  select count(*) filter (where d.is_known), count(*) filter (where not d.is_known),
         (array_agg(d.place order by d.id) filter (where not d.is_known))[1]
  into known, places, first_place
  from damage as d;
  if places > 0 then
    found_here.is_valid := false;
    found_here.error_code := 'AUD-009';
    found_here.verdict := first_place ->> 'verdict';
    found_here.broken_id := (first_place ->> 'id')::bigint;
    found_here.expected_hash := first_place ->> 'expected_hash';
    found_here.actual_hash := first_place ->> 'actual_hash';
    found_here.detail := (first_place ->> 'detail') || case when places > 1 then format(' (first of %s places)', places) else '' end;
  elsif known > 0 then
    found_here.verdict := 'acknowledged';
    found_here.detail := concat_ws('; ', format('%s rows', found_here.rows_checked),
                                   format('damage at %s places, acknowledged by a lockdown release', known), ahead);
  end if;
  if places = 0 and coalesce(tail_id, 0) < coalesce(to_id, from_id - 1) then
    first_lost := greatest(coalesce(tail_id, 0) + 1, from_id);
    found_here.is_valid := null;
    found_here.verdict := 'not_there';
    found_here.detail := concat_ws('; ', found_here.detail,
      format('%s not there: %s', case when to_id is null then format('rows from %s on are', first_lost)
                                      when to_id = first_lost then format('row %s is', to_id)
                                      else format('rows %s to %s are', first_lost, to_id) end,
             case when tail_id is null then format('%s is empty', table_name) else format('%s ends with row %s', table_name, tail_id) end));
  end if;
  return found_here;
end
$function$;
comment on function verify_chain is 'Recomputes one chain, or a range of it, and gives the verdict. Changes nothing.';
