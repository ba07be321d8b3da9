create function find_chain_damage(table_name text, from_id bigint default null, to_id bigint default null)
returns table (damaged_table text, id bigint, verdict text, expected_hash text, actual_hash text, detail text)
language plpgsql stable
set search_path from current
set row_security = off
set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1 set intervalstyle = 'postgres'
set enable_seqscan = off set enable_sort = off set enable_bitmapscan = off set jit = off
as $function$
declare
  seen_to  bigint;
  beyond   boolean;
begin
  perform _chain_or_error(table_name);
  detail := _missing_part(table_name);
  if detail is not null then
    damaged_table := table_name;
    verdict := 'table_missing';
    return next;
    return;
  end if;
  return query execute format(
    'select $4::text, p.id, p.verdict, p.expected_hash, p.actual_hash, p.detail from (%s) as p where p.verdict is not null order by p.at_id',
    _chain_places_sql(table_name))
    using coalesce(from_id, -9223372036854775808), coalesce(to_id, 9223372036854775807), chain_genesis(table_name), table_name;
  -- A gap at the end of the range has no row in the range to show it.
  if to_id is not null then
    execute format('select max(t.id), exists (select from only %1$I as b where b.id > $2) from only %1$I as t where t.id between $1 and $2', table_name)
      into seen_to, beyond using coalesce(from_id, -9223372036854775808), to_id;
    if beyond and coalesce(seen_to, coalesce(from_id, 1) - 1) < to_id then
      execute format($query$
        select $3::text, coalesce(b.id, 0) + 1, 'missing_rows', encode(sha256(convert_to(coalesce(r.altered, r.row_data), 'UTF8')), 'hex'),
               r.row_hash, format('rows %%s to %%s are missing', coalesce(b.id, 0) + 1, a.id - 1)
        from (select n.id from only %1$I as n where n.id > $2 order by n.id limit 1) as a
        join (%2$s) as r on r.id = a.id
        left join lateral (select p.id from only %1$I as p where p.id <= $2 order by p.id desc limit 1) as b on true
        limit 1
        $query$, table_name, chain_rows_sql(table_name))
        into damaged_table, id, verdict, expected_hash, actual_hash, detail using from_id, to_id, table_name;
      return next;
    end if;
  end if;
end
$function$;
comment on function find_chain_damage is
  'Every broken place of a chain, or of a range of it, in id order; no row if there is none. Acknowledged damage is listed too.';

create function _acknowledged_if_known()
returns table (table_name text, id text, verdict text, actual_hash text, expected_hash text, release_id bigint)
language plpgsql stable
set search_path from current
as $function$
begin
  return query select a.* from acknowledged_damage() as a;
exception
  when undefined_table or undefined_function or undefined_object or undefined_column then
    return;  -- without lockdown_events there are no releases, and damage is damage
  when lock_not_available then
    -- Nothing was ever released if there never was an alarm, and nothing is lost by another one while one stands.
    if pg_sequence_last_value('lockdown_alarm'::regclass) is not distinct from pg_sequence_last_value('lockdown_lifted'::regclass)
       and pg_sequence_last_value('lockdown_alarm'::regclass) is not null then
      raise;
    end if;
end
$function$;
comment on function _acknowledged_if_known is
  'The rows of acknowledged_damage(); none if what it reads was dropped, or is locked while no release can count.';

create function _chain_check_sql(table_name text) returns text
language sql stable
set search_path from current
as $function$
  -- One pass in id order that only counts. $1 and $2 bound the ids; $3, $4 and $5 are hash, id and time before the first.
  -- It fails (22023) on a hash that is not hex: then, or where a row does not hold, _chain_places_sql looks closer.
  select format($query$
    select count(*), min(l.id), max(l.id), count(*) filter (where l.holds is not true), max(l.created_at)
    from (
      select r.id, r.created_at,
        r.row_hash = encode(sha256(decode(lag(r.row_hash, 1, $3) over w, 'hex') || convert_to(r.row_data, 'UTF8')), 'hex')
        and r.id = lag(r.id, 1, $4) over w + 1
        and r.created_at >= lag(r.created_at, 1, $5) over w and isfinite(r.created_at)
        and r.older_values_hold as holds
      from (%s) as r
      where r.id between $1 and $2
      window w as (order by r.id)
    ) as l
  $query$, chain_rows_sql(_chain_check_sql.table_name));
$function$;
comment on function _chain_check_sql is 'Text of the query that counts the rows of a chain and those among them that do not hold, and finds the latest time.';
