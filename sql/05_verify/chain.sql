-- The verdict on one chain, or on a range of its ids. Reads only.

create function _check_range_of_chain(
  table_name text, from_id bigint, to_id bigint, starts_behind bigint, start_hash text, start_time timestamptz,
  out rows_checked bigint, out first_id bigint, out last_id bigint, out broken bigint, out latest timestamptz)
language plpgsql stable
set search_path from current
set client_encoding = 'UTF8'  -- _chain_check_sql needs it
as $function$
declare
  begins_at    constant bigint := coalesce(from_id, -9223372036854775808);
  ends_at      constant bigint := coalesce(to_id, 9223372036854775807);
  before_id    bigint;
  before_hash  text;
  before_time  timestamptz;
  in_parts     record;
begin
  execute format('select t.id, t.row_hash::text, t.created_at'
                 ' from only %I as t where t.id < $1 order by t.id desc limit 1', table_name)
    into before_id, before_hash, before_time using begins_at;
  -- For less than 100,000 rows, and so for the ranges of a verification_plan, starting processes costs more than they
  -- gain. A table of under 8 MB has fewer.
  if pg_relation_size(to_regclass(quote_ident(table_name))) >= 8388608 then
    execute format('select (select t.id from only %1$I as t where t.id between $1 and $2 order by t.id limit 1),'
                   ' (select t.id from only %1$I as t where t.id between $1 and $2 order by t.id desc limit 1)',
                   table_name) into first_id, last_id using begins_at, ends_at;
  end if;
  if first_id > starts_behind and first_id <= 4611686018427387904 and last_id >= first_id + 100000
     and current_setting('max_parallel_workers_per_gather')::integer > 0
     -- without the index each part would read the whole table
     and exists (select from pg_index as i
                 join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0] and a.attname = 'id'
                 where i.indrelid = to_regclass(quote_ident(table_name)) and i.indisunique
                   and i.indisvalid and i.indpred is null) then
    select p.* into in_parts from _check_in_parts(
      table_name, first_id, last_id, starts_behind => starts_behind, start_hash => start_hash, start_time => start_time
    ) as p;
    if in_parts.holds then
      rows_checked := last_id - first_id + 1;
      broken := 0;
      latest := in_parts.latest;
      return;
    end if;
  end if;
  execute _chain_check_sql(table_name)
    into rows_checked, first_id, last_id, broken, latest
    using begins_at, ends_at, coalesce(before_hash, start_hash), coalesce(before_id, starts_behind),
          coalesce(before_time, start_time);
exception when invalid_parameter_value then  -- a stored hash is not hex
  execute format('select count(*), min(p.at_id), max(p.at_id), count(p.verdict) from (%s) as p',
                 _chain_places_sql(table_name))
    into rows_checked, first_id, last_id, broken
    using begins_at, ends_at, start_hash, starts_behind, start_time;
end
$function$;
comment on function _check_range_of_chain is
  'How many rows a range has, how many of them do not hold, and the latest time (null if a stored hash is not hex), of '
  'a chain that starts behind a row with this id, hash and time. Several processes read a long range. verify_chain '
  'pins the settings.';

create function _missing_end_text(table_name text, from_id bigint, to_id bigint, tail_id bigint) returns text
language sql immutable
set search_path from current
as $function$
  select format('%s not there: %s',
    case when to_id is null then format('rows from %s on are', r.first_id)
         when to_id = r.first_id then format('row %s is', to_id)
         else format('rows %s to %s are', r.first_id, to_id) end,
    case when tail_id is null then format('%s is empty', table_name)
         else format('%s ends with row %s', table_name, tail_id) end)
  from (select greatest(coalesce(tail_id, 0) + 1, from_id) as first_id) as r;
$function$;
comment on function _missing_end_text is 'Which rows of a range are after the end of the chain, in words.';

create function verify_chain(table_name text, from_id bigint default null, to_id bigint default null)
returns chain_verdict
language plpgsql
set search_path from current
set row_security = off
set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1 set intervalstyle = 'postgres'
set enable_seqscan = off set enable_sort = off set enable_bitmapscan = off set jit = off
as $function$
declare
  result     chain_verdict;
  start      record;
  checked    record;
  damage     record;
  tail_id    bigint;
  tail_time  timestamptz;
  ahead      text;
  summary    text;
begin
  perform _chain_or_error(table_name);
  if _missing_part(table_name) is not null then
    return _verdict(table_name, 'table_missing', _missing_part(table_name));
  end if;
  select s.* into start from _proven_start(table_name, from_id) as s;
  select c.* into checked
  from _check_range_of_chain(table_name, from_id, to_id, start.id, start.row_hash, start.created_at) as c;
  tail_id := checked.last_id;
  tail_time := checked.latest;
  if tail_time is null or tail_id < to_id then
    execute format('select t.id, t.created_at from only %I as t order by t.id desc limit 1', table_name)
      into tail_id, tail_time;
  end if;
  ahead := case when to_id is null then _ahead_of_clock(tail_time) end;
  summary := concat_ws('; ', format('%s rows', checked.rows_checked), case when start.proposal_id is not null then
    format('rows 1 to %s archived by proposal %s', start.id, start.proposal_id) end);
  result := _verdict(table_name, 'intact', concat_ws('; ', summary, ahead));
  result.rows_checked := checked.rows_checked;
  result.first_id := checked.first_id;
  result.last_id := checked.last_id;
  -- A run may begin with the row after the last one: there is nothing yet, and nothing is missing.
  if start.id > 0 and tail_id is null then
    result := _with_verdict(result, 'tail_missing', concat_ws('; ', summary,
      'no row is left, but the last ones are never archived'));
    result.broken_id := start.id + 1;
    return result;
  end if;
  -- What is archived is not missing, either.
  if checked.broken = 0 and (case when to_id is null then coalesce(from_id <= coalesce(tail_id, start.id) + 1, true)
                                  else coalesce(checked.last_id, start.id) >= to_id end) then
    return result;
  end if;
  -- Damage is rare, so only then is the range read a second time.
  select d.* into damage from _weigh_damage(table_name, from_id, to_id) as d;
  if damage.unknown > 0 then
    result := _with_verdict(result, damage.first_unknown ->> 'verdict', concat(damage.first_unknown ->> 'detail',
      case when damage.unknown > 1 then format(' (first of %s places)', damage.unknown) end));
    result.broken_id := (damage.first_unknown ->> 'id')::bigint;
    result.expected_hash := damage.first_unknown ->> 'expected_hash';
    result.actual_hash := damage.first_unknown ->> 'actual_hash';
    return result;
  end if;
  if damage.known > 0 then
    result := _with_verdict(result, 'acknowledged', concat_ws('; ', summary,
      format('damage at %s places, acknowledged by a lockdown release', damage.known), ahead));
  end if;
  if coalesce(tail_id, start.id) < coalesce(to_id, from_id - 1) then
    result := _with_verdict(result, 'not_there', concat_ws('; ', result.detail,
      _missing_end_text(table_name, from_id, to_id, tail_id)));
  end if;
  return result;
end
$function$;
comment on function verify_chain is
  'Recomputes one chain, or a range of it, and gives the verdict. Changes nothing.';
