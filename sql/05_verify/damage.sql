-- Every broken place of a chain, and which of them a lockdown release acknowledged. acknowledged_damage and the
-- sequences lockdown_alarm and lockdown_lifted are made in 08_lockdown.

create function _gap_at_end_sql(table_name text) returns text
language sql stable
set search_path from current
as $function$
  -- $1 and $2 bound the ids, $3 is the table, $4 the row behind which it starts. Of the row after the gap, the hash of
  -- its content alone.
  select _fill($query$
    select $3::text, coalesce(b.id, $4) + 1, 'missing_rows',
           encode(sha256(convert_to(coalesce(r.altered, r.row_data), 'UTF8')), 'hex'), r.row_hash,
           format('rows %s to %s are missing', coalesce(b.id, $4) + 1, a.id - 1)
    from (select n.id from only {table:I} as n where n.id > $2 order by n.id limit 1) as a
    join ({rows:s}) as r on r.id = a.id
    left join lateral (select p.id from only {table:I} as p where p.id <= $2 order by p.id desc limit 1) as b on true
    where coalesce((select max(t.id) from only {table:I} as t
                    where t.id between coalesce($1, -9223372036854775808) and $2),
                   greatest(coalesce($1, 1) - 1, $4)) < $2
    limit 1
  $query$, 'table', _gap_at_end_sql.table_name, 'rows', chain_rows_sql(_gap_at_end_sql.table_name));
$function$;
comment on function _gap_at_end_sql is
  'Text of the query for the rows that are missing at the end of a range, though rows stand after it; no row if none '
  'are.';

create function find_chain_damage(table_name text, from_id bigint default null, to_id bigint default null)
returns table (damaged_table text, id bigint, verdict text, expected_hash text, actual_hash text, detail text)
language plpgsql stable
set search_path from current
set row_security = off
set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1 set intervalstyle = 'postgres'
set enable_seqscan = off set enable_sort = off set enable_bitmapscan = off set jit = off
as $function$
declare
  start record;
begin
  perform _chain_or_error(table_name);
  detail := _missing_part(table_name);
  if detail is not null then
    damaged_table := table_name;
    verdict := 'table_missing';
    return next;
    return;
  end if;
  select s.* into start from _proven_start(table_name, from_id) as s;
  return query execute format(
    'select $6::text, p.id, p.verdict, p.expected_hash, p.actual_hash, p.detail'
    ' from (%s) as p where p.verdict is not null order by p.at_id', _chain_places_sql(table_name))
    using coalesce(from_id, -9223372036854775808), coalesce(to_id, 9223372036854775807), start.row_hash, start.id,
          start.created_at, table_name;
  -- A gap at the end of the range has no row in the range to show it.
  if to_id is not null then
    return query execute _gap_at_end_sql(table_name) using from_id, to_id, table_name, start.id;
  end if;
end
$function$;
comment on function find_chain_damage is
  'Every broken place of a chain, or of a range of it, in id order; no row if there is none. Acknowledged damage is '
  'listed too.';

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
    -- Without an alarm nothing was ever released; while one stands, another one harms nobody. On a standby, and after
    -- a crash, it is not known whether it stands.
    if coalesce(pg_sequence_last_value('lockdown_alarm'::regclass)
                  = pg_sequence_last_value('lockdown_lifted'::regclass),
                pg_sequence_last_value('lockdown_alarm'::regclass) is not null) then
      raise;
    end if;
end
$function$;
comment on function _acknowledged_if_known is
  'The rows of acknowledged_damage() (08_lockdown); none if what it reads was dropped, or is locked while no release '
  'can count.';

create function _damage_item(table_name text, id bigint, verdict text, actual_hash text, expected_hash text)
returns jsonb
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
  select _damage_item(verdict.table_name, verdict.broken_id, verdict.verdict, verdict.actual_hash,
                      verdict.expected_hash);
$function$;
comment on function _damage_of is 'A verdict as an item of lockdown_events.damage.';

create function _weigh_damage(
  table_name text, from_id bigint, to_id bigint, out known bigint, out unknown bigint, out first_unknown jsonb)
language sql stable
set search_path from current
as $function$
  with
  acknowledged as materialized (select a.* from _acknowledged_if_known() as a),
  damage as (
    select f.id,
           _damage_item(f.damaged_table, f.id, f.verdict, f.actual_hash, f.expected_hash)
             || jsonb_build_object('detail', f.detail) as place,
           exists (select from acknowledged as a
                   where a.table_name = f.damaged_table and a.id = f.id::text and a.verdict = f.verdict
                     and a.actual_hash is not distinct from f.actual_hash
                     and a.expected_hash is not distinct from f.expected_hash) as is_known
    from find_chain_damage(_weigh_damage.table_name, _weigh_damage.from_id, _weigh_damage.to_id) as f)
  select count(*) filter (where d.is_known), count(*) filter (where not d.is_known),
         (array_agg(d.place order by d.id) filter (where not d.is_known))[1]
  from damage as d;
$function$;
comment on function _weigh_damage is
  'How many broken places of a range a lockdown release acknowledged, how many it did not, and the first of these.';
