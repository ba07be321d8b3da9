-- The list of all chained tables

create function chained_tables()
returns table (
  table_name        text,
  kind              text,
  last_id           bigint,
  not_covered       text[],
  open_in_lockdown  boolean,
  keep              interval
)
language plpgsql stable
set search_path from current
as $function$
#variable_conflict use_column
begin
  return query
    select c.table_name, case when c.is_own then 'own' when c.is_internal then 'internal' else 'audit log' end,
           case when s.error_code is null then coalesce(s.last_id, 0) end,
           array(select a.attname::text
                 from pg_attribute as a
                 where a.attrelid = to_regclass(quote_ident(c.table_name)) and a.attnum > 0 and not a.attisdropped
                   and a.attname <> 'row_hash'
                   and a.attname <> all (coalesce((select e.column_names from only chain_columns as e
                                                   where e.table_name = c.table_name order by e.id desc limit 1), '{}'))
                 order by a.attnum),
           c.open_in_lockdown, p.keep
    from only chains as c
    join chain_status() as s on s.table_name = c.table_name
    left join only retention_policies as p on p.table_name = c.table_name
    order by c.position;
end
$function$;
comment on function chained_tables is
  'Every chained table: whether it is your own, its last row, the columns that its chain does not cover yet, whether a '
  'lockdown leaves it open, and how long its rows are kept. last_id is null if the table cannot be read.';

-- A table that holds rows is evidence. An empty one is no chain any more afterwards, and stays the owner role's.
create function _release_own_tables() returns void
language plpgsql
set search_path from current
as $function$
declare
  own     record;
  filled  boolean;
begin
  for own in select c.table_name from only chains as c where c.is_own order by c.position desc loop
    execute format('lock table only %I in access exclusive mode', own.table_name);
    execute format('select exists (select from only %I)', own.table_name) into filled;
    if filled then
      raise exception 'alpha-db: 007_own_tables is not rolled back, because % holds rows', quote_ident(own.table_name)
        using errcode = '55000',
              hint = 'An audit log is not thrown away by a rollback. '
                     'To delete it on purpose, export it and drop the schema.';
    end if;
    perform _chain_detach(own.table_name), _forget_attempts(own.table_name);
    raise notice 'alpha-db: % is no chained table any more. It belongs to %.', quote_ident(own.table_name),
      quote_ident(_owner_role());
  end loop;
end
$function$;
comment on function _release_own_tables is
  'Undoes chain_table for every own table that is empty; raises 55000 if one holds rows. The rollback of 007 calls it.';

select _grant('execute on routine', '{chained_tables}', '{app_auditor}');
