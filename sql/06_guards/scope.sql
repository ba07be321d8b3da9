-- What is guarded: the schema, and which relations, functions, roles and expressions in it are ours.
--
-- The functions of facts_*.sql ask the system catalogues about these objects. Columns have the names that the
-- catalogues give them. Nothing here looks at an oid that a dump would change: oids only join.
--
--   _guard_home()        the schema of this installation and its owner role, one row
--   _guard_objects(…)    what one catalogue has in this schema, whoever owns it
--   _guard_extensions()  the objects of extensions that have anything in this schema
--   _guard_relations()   our tables, views, sequences and composite types, each with the chain that it belongs to;
--                        guard_facts hands them to those that list their facts
--   _guard_functions()   our functions
--   _guard_roles()       the four roles
--   _guard_members()     the members of these, and of roles by which a login reaches the log without them
--
-- Those that guard_facts calls many times are plpgsql, which plans a query once in a session. Before 18, an SQL
-- function plans its query at every call.
--
-- Hundreds of installations may share the catalogues, so nothing here reads a whole one. None has an index that begins
-- with the namespace, but pg_depend says what each schema holds. From there every join has an index to go by. The
-- number of rows stands at each function, and random_page_cost at guard_facts, so that the planner uses it. No query
-- compares a namespace with _guard_home(): among 200, the planner would expect one row, and loop.
-- A superuser can delete rows of pg_depend: _stray_facts (facts.sql) reports what is not listed there.

create function _guard_home()
returns table (oid oid, nspname name, nspowner oid, nspacl aclitem[], owner oid, role_prefix text)
language plpgsql stable rows 1
set search_path from current
as $function$
begin
  return query
    select n.oid, n.nspname, n.nspowner, n.nspacl, o.oid, i.role_prefix
    -- The limit says that there is one row.
    from (select r.role_prefix, r.tableoid as relation from only installation as r limit 1) as i
    join pg_class as c on c.oid = i.relation
    join pg_namespace as n on n.oid = c.relnamespace
    join pg_roles as o on o.rolname = i.role_prefix || 'alpha_owner';
end
$function$;
comment on function _guard_home is 'The schema of this installation and the role that owns it, one row.';

create function _guard_objects(catalogue regclass)
returns table (oid oid)
language plpgsql stable rows 300
set search_path from current
as $function$
begin
  return query
    select d.objid
    from _guard_home() as home
    join pg_depend as d on d.refclassid = 'pg_namespace'::regclass and d.refobjid = home.oid
    where d.classid = catalogue;
end
$function$;
comment on function _guard_objects is
  'What pg_class, pg_proc or pg_type has in this schema, whoever owns it, but for what is a part of something else: '
  'indexes, row types, array types.';

create function _guard_extensions()
returns table (oid oid, classid oid, objid oid)
language plpgsql stable rows 1
set search_path from current
as $function$
begin
  -- An extension gets a fact of its own, instead of one for every object.
  return query
    with members as materialized (
      select e.oid, d.classid, d.objid
      from _guard_home() as home
      join pg_extension as e on true
      join pg_depend as d on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid and d.deptype = 'e'
      where e.oid in (
        select x.refobjid
        from pg_depend as x
        where x.refclassid = 'pg_extension'::regclass and x.deptype = 'e'
          and home.oid in (
            (select c.relnamespace from pg_class as c where x.classid = 'pg_class'::regclass and c.oid = x.objid),
            (select p.pronamespace from pg_proc as p where x.classid = 'pg_proc'::regclass and p.oid = x.objid),
            (select t.typnamespace from pg_type as t where x.classid = 'pg_type'::regclass and t.oid = x.objid),
            (select o.oprnamespace from pg_operator as o
             where x.classid = 'pg_operator'::regclass and o.oid = x.objid)))
    )
    select m.oid, m.classid, m.objid from members as m
    union
    -- Older versions do not make the array type of a member a member.
    select m.oid, m.classid, t.typarray
    from members as m join pg_type as t on m.classid = 'pg_type'::regclass and t.oid = m.objid and t.typarray <> 0;
end
$function$;
comment on function _guard_extensions is 'Every object of the extensions that have an object in this schema.';

create type _guard_relation as (
  oid           oid,
  relname       name,
  relkind       "char",
  relnamespace  oid,
  relowner      oid,
  relacl        aclitem[],
  chain         text
);
comment on type _guard_relation is
  'A relation that is guarded. guard_facts finds all of them once, for the functions that list their facts.';
comment on column _guard_relation.oid          is 'As in pg_class.';
comment on column _guard_relation.relname      is 'As in pg_class.';
comment on column _guard_relation.relkind      is 'As in pg_class.';
comment on column _guard_relation.relnamespace is 'As in pg_class.';
comment on column _guard_relation.relowner     is 'As in pg_class.';
comment on column _guard_relation.relacl       is 'As in pg_class.';
comment on column _guard_relation.chain        is 'The chained table that it belongs to.';

create function _guard_relations()
returns setof _guard_relation
language plpgsql stable rows 200
set search_path from current
set random_page_cost = 0.2
as $function$
begin
  return query
    with helpers (name, table_name) as (
      select n.name, h.table_name
      from only chains as h
      cross join lateral (values ('lock_' || h.table_name), ('writer_' || h.table_name), ('tail_' || h.table_name),
                                 ('hashed_' || h.table_name), (h.table_name || '_id_seq')) as n(name)
    )
    select c.oid, c.relname, c.relkind, c.relnamespace, c.relowner, c.relacl, coalesce(h.table_name, g.table_name)
    from (
      select o.oid from _guard_objects('pg_class') as o
      union all
      -- A composite type is a relation of its own.
      select t.typrelid
      from _guard_objects('pg_type') as o join pg_type as t on t.oid = o.oid and t.typrelid <> 0
    ) as o
    join pg_class as c on c.oid = o.oid
    left join only chains as h on h.table_name = c.relname
    left join helpers as g on g.name = c.relname
    where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'c')
      and (h.table_name is not null
           or c.relowner = (select home.owner from _guard_home() as home)
              and c.oid not in (select e.objid from _guard_extensions() as e where e.classid = 'pg_class'::regclass));
end
$function$;
comment on function _guard_relations is
  'Our tables, views, sequences and composite types, and every chained table even if it is no longer ours; '
  'chain is the chained table that each belongs to.';

create function _guard_functions()
returns table (oid oid, signature text, proowner oid, proacl aclitem[], chain text)
language sql stable rows 300
set search_path from current
as $function$
  select p.oid, p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', p.proowner, p.proacl,
         g.table_name
  from _guard_objects('pg_proc') as o
  join pg_proc as p on p.oid = o.oid
  left join only chains as g on p.proname = '_chain_' || g.table_name and p.pronargs = 0
  where p.proowner = (select home.owner from _guard_home() as home)
    and p.oid not in (select e.objid from _guard_extensions() as e where e.classid = 'pg_proc'::regclass);
$function$;
comment on function _guard_functions is
  'Our functions with their names and argument types; chain is the table that a chain trigger belongs to.';

create function _guard_roles()
returns table (oid oid, rolname name, is_owner boolean)
language sql stable rows 4
set search_path from current
as $function$
  select r.oid, r.rolname, r.oid = home.owner
  from _guard_home() as home
  cross join unnest(array['alpha_owner', 'app_trading', 'app_auditor', 'app_risk']) as a(name)
  join pg_roles as r on r.rolname = home.role_prefix || a.name;
$function$;
comment on function _guard_roles is 'The four roles of this installation.';

create function _guard_members()
returns table (role_name text, is_owner boolean, is_power boolean, member oid, name text, is_admin boolean,
               attributes text)
language sql stable rows 20
set search_path from current
as $function$
  with recursive
  -- Predefined roles by which a login reaches the log without a right on it. Not among them, because they change
  -- nothing: pg_read_all_data and pg_monitor with its parts read, pg_checkpoint and pg_signal_autovacuum_worker cost
  -- time, pg_use_reserved_connections opens a session. pg_database_owner has one member, a fact of the schema.
  powers (name) as (values
    ('pg_write_all_data'),          -- writes every table, and sets every sequence back
    ('pg_execute_server_program'),  -- is the server's user in the operating system
    ('pg_write_server_files'),      -- writes the data files
    ('pg_read_server_files'),       -- reads the server's private key and the passwords' verifiers
    ('pg_signal_backend'),          -- ends every verification
    ('pg_maintain'),                -- 17: locks every table
    ('pg_create_subscription')),    -- 16: what a subscription writes meets no ordinary trigger, so no chain
  reach (role, member, is_admin) as (
    select m.roleid, m.member, m.admin_option
    from pg_auth_members as m
    where m.roleid in (select o.oid from _guard_roles() as o
                       union all
                       select to_regrole(p.name) from powers as p)
    union
    -- A member of a role that has the admin option has it too.
    select reach.role, m.member, reach.is_admin
    from reach join pg_auth_members as m on m.roleid = reach.member
  )
  select pg_get_userbyid(reach.role)::text, coalesce(o.is_owner, false), o.oid is null, reach.member, r.rolname::text,
         bool_or(reach.is_admin),
         concat_ws(', ', case when r.rolsuper then 'superuser' end, case when r.rolcreaterole then 'createrole' end,
                   case when r.rolbypassrls then 'bypassrls' end, case when r.rolreplication then 'replication' end)
  from reach
  join pg_roles as r on r.oid = reach.member
  left join _guard_roles() as o on o.oid = reach.role
  group by reach.role, o.is_owner, o.oid, reach.member, r.rolname, r.rolsuper, r.rolcreaterole, r.rolbypassrls,
           r.rolreplication;
$function$;
comment on function _guard_members is
  'Members, direct or not, of the four roles and of the predefined roles by which a login reaches the log without '
  'them (is_power).';
