-- Takes back 001_core_functions, and with it the last object of this installation. The roles stay: they belong to the
-- whole cluster and other installations use them.
--
-- It begins as sql/wrapper/rollback.sql does, but it cannot end with _finish_rollback, because it drops that function.

do $rollback$
declare
  home        pg_catalog.text := pg_catalog.current_schema();
  item        pg_catalog.record;
  schema_oid  pg_catalog.regnamespace;
  owner_oid   pg_catalog.regrole;
  built_on    pg_catalog.text;
begin
perform pg_catalog.set_config('alpha.previous_search_path', pg_catalog.current_setting('search_path'), true),
        pg_catalog.set_config('quote_all_identifiers', 'off', true),
        pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
if not exists (select from pg_proc as p
               join pg_namespace as n on n.oid = p.pronamespace
               join pg_class as c on c.relnamespace = n.oid and c.relname = 'installed_migrations'
               join pg_roles as r on r.oid = p.proowner and r.oid = c.relowner
               where p.proname = '_begin_rollback' and n.nspname = home
                 and r.rolname ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$') then
  raise exception 'alpha-db is not installed in schema %, which is first on search_path', home using errcode = '3F000';
end if;
perform set_config('search_path', concat(quote_ident(home), ', pg_temp'), true);
perform _begin_rollback('001_core_functions');
schema_oid := quote_ident(current_schema())::regnamespace;
owner_oid := quote_ident(_owner_role())::regrole;

-- Our own tables refer to each other, so they are dropped with CASCADE. That would take what others built on them, too.
select string_agg(distinct o.name, ', ' order by o.name) into built_on
from (select d.refobjid as our_relation, v.oid::regclass::text as name, v.relowner as owner_of_it  -- views
      from pg_depend as d
      join pg_rewrite as r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
      join pg_class as v on v.oid = r.ev_class
      where d.refclassid = 'pg_class'::regclass
      union all
      select i.inhparent, h.oid::regclass::text, h.relowner
      from pg_inherits as i join pg_class as h on h.oid = i.inhrelid
      union all
      select f.confrelid, h.oid::regclass::text, h.relowner
      from pg_constraint as f join pg_class as h on h.oid = f.conrelid where f.contype = 'f'
      union all  -- functions and columns with the type of a row of ours
      select t.typrelid, coalesce(p.oid::regprocedure::text, h.oid::regclass::text), coalesce(p.proowner, h.relowner)
      from pg_depend as d
      join pg_type as t on d.refobjid in (t.oid, t.typarray)
      left join pg_proc as p on d.classid = 'pg_proc'::regclass and p.oid = d.objid
      left join pg_class as h on d.classid = 'pg_class'::regclass and h.oid = d.objid
      where d.refclassid = 'pg_type'::regclass) as o
join pg_class as c on c.oid = o.our_relation and c.relnamespace = schema_oid and c.relowner = owner_oid
where o.owner_of_it <> owner_oid;
if built_on is not null then
  raise exception 'alpha-db is not taken back, because others built on its tables: %', built_on
    using errcode = '2BP01', hint = 'Drop these first, or take them off the tables of alpha-db.';
end if;

for item in
  select format('drop table %I cascade', c.relname) as command
  from pg_class as c where c.relnamespace = schema_oid and c.relowner = owner_oid and c.relkind = 'r'
  union all
  select format('drop sequence %I', c.relname)
  from pg_class as c
  where c.relnamespace = schema_oid and c.relowner = owner_oid and c.relkind = 'S'
    and not exists (select from pg_depend as d where d.objid = c.oid and d.deptype = 'a')
  union all
  select format('drop type %I cascade', t.typname)
  from pg_type as t join pg_class as c on c.oid = t.typrelid and c.relkind = 'c'
  where t.typnamespace = schema_oid and t.typowner = owner_oid
loop
  execute item.command;
end loop;
-- Domains and the function in their checks hold on to each other.
drop domain decimal_28_10, decimal_28_2, decimal_5_4;
perform set_config('role', current_setting('alpha.previous_role'), true);
for item in
  select format('drop function %s', p.oid::regprocedure) as command
  from pg_proc as p where p.pronamespace = schema_oid and p.proowner = owner_oid
loop
  execute item.command;
end loop;
perform set_config('search_path', current_setting('alpha.previous_search_path'), true);
end
$rollback$;
