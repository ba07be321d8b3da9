-- Tables whose rows are kept in other tables: shards of Citus, chunks of TimescaleDB.
--
-- Of their tables, only what a superuser made is read: a view of anybody else would run his code with our rights.
create function _kept_elsewhere()
returns table (oid oid, what text)
language plpgsql stable rows 1
set search_path from current
as $function$
declare
  register  record;
begin
  for register in
    select format('%I.%I', n.nspname, c.relname) as name, e.what, e.namespace, e.relation
    from (values ('pg_catalog', 'pg_dist_partition', 'a distributed table of Citus', null, 'logicalrelid'),
                 ('_timescaledb_catalog', 'hypertable', 'a hypertable of TimescaleDB', 'schema_name', 'table_name'))
      as e(schema, name, what, namespace, relation)
    join pg_namespace as n on n.nspname = e.schema
    join pg_class as c on c.relnamespace = n.oid and c.relname = e.name and c.relkind = 'r' and not c.relrowsecurity
    join pg_roles as r on r.oid = c.relowner and r.rolsuper
    where has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')
  loop
    return query execute case when register.namespace is null
      then _fill('select r.{relation:I}::pg_catalog.oid, {what:L} from {register:s} as r', 'what', register.what,
                 'register', register.name, 'relation', register.relation)
      else _fill('select c.oid, {what:L} from {register:s} as r
                  join pg_catalog.pg_namespace as n on n.nspname = r.{namespace:I}
                  join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = r.{relation:I}',
                 'what', register.what, 'register', register.name, 'namespace', register.namespace,
                 'relation', register.relation) end;
  end loop;
end
$function$;
comment on function _kept_elsewhere is
  'Relations whose rows Citus or TimescaleDB keep in shards or chunks, as their own tables say.';
