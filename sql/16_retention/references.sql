-- What still refers to rows that are to go
--
-- A row may only go if no row that stays refers to it. The foreign keys of the catalogues are asked, so tables of users
-- count as well. Rows that are archived themselves do not: they may go first. In plans and proposals, "archived" is a
-- map of what shall be archived, {table: through_id}.

create function _rows_stay_from(table_name text, archived jsonb) returns bigint
language sql stable
set search_path from current
as $function$
  select greatest(s.id, (archived ->> table_name)::bigint, 0) + 1 from _chain_start(table_name) as s;
$function$;
comment on function _rows_stay_from is
  'The first row of a chained table that stays when these segments are archived, {table: through_id}.';

create function _lowest_reference(
  table_name text, after_id bigint, through_id bigint, archived jsonb, out id bigint, out referrer text)
language plpgsql stable
set search_path from current
set row_security = off
as $function$
declare
  key      record;
  lowest   bigint;
begin
  for key in
    select c.conrelid::regclass::text as referrer, n.table_name as chained,
           has_table_privilege(c.conrelid, 'select') as is_readable,
           (select string_agg(format('p.%I = c.%I', f.attname, a.attname), ' and ' order by k.place)
            from unnest(c.conkey, c.confkey) with ordinality as k(from_column, to_column, place)
            join pg_attribute as a on a.attrelid = c.conrelid and a.attnum = k.from_column
            join pg_attribute as f on f.attrelid = c.confrelid and f.attnum = k.to_column) as condition
    from pg_constraint as c
    join pg_class as r on r.oid = c.conrelid
    left join only chains as n on n.table_name = r.relname
                              and r.relnamespace = quote_ident(current_schema())::regnamespace
    where c.contype = 'f' and c.confrelid = quote_ident(_lowest_reference.table_name)::regclass
    order by 1
  loop
    if not key.is_readable and through_id > after_id then
      id := after_id + 1;  -- it may refer to any row
      referrer := format('%s (grant select on it to %I)', key.referrer, _owner_role());
      return;
    end if;
    execute _fill($query$
      select min(p.id) from only {table:I} as p
      where p.id > $1 and p.id <= $2
        and exists (select from {referrer:s} as c where {condition:s} {stays:s})
      $query$, 'table', table_name, 'referrer', key.referrer, 'condition', key.condition,
      'stays', case when key.chained is not null
                    then format('and c.id >= %s', _rows_stay_from(key.chained, archived)) else '' end)
      into lowest using after_id, through_id;
    if lowest < id or id is null and lowest is not null then
      id := lowest;
      referrer := key.referrer;
    end if;
  end loop;
end
$function$;
comment on function _lowest_reference is
  'The lowest row of a range, after after_id up to through_id, that a row which stays refers to, and the table of that '
  'row; nulls if none does. A table that the owner role may not read is taken to refer to all of them. '
  'archived: what shall be archived besides, {table: through_id}.';
