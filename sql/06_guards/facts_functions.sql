-- Guard facts about what is run, and what it can be made to mean: functions, types, operators, casts, extensions, and
-- what any of ours takes from elsewhere.

create function _function_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select f.chain, 'function', f.signature, v.fact, v.value
  from _guard_functions() as f
  join pg_proc as p on p.oid = f.oid
  join pg_language as l on l.oid = p.prolang
  cross join lateral (values
    ('body', encode(sha256(convert_to(
       p.prosrc || case when p.prosqlbody is not null then pg_get_function_sqlbody(p.oid) else '' end,
       'UTF8')), 'hex')),
    ('arguments', pg_get_function_arguments(p.oid)),
    ('result', coalesce(pg_get_function_result(p.oid), '')),
    ('attributes', concat_ws(', ',
       l.lanname,
       case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
       case when p.prosecdef then 'security definer' end,
       case when p.proisstrict then 'strict' end,
       case when p.proleakproof then 'leakproof' end,
       'parallel ' || p.proparallel::text,
       case when p.prosupport <> 0 then 'support ' || p.prosupport::regproc::text end)),
    ('settings', coalesce(array_to_string(p.proconfig, '; '), ''))
  ) as v(fact, value)
  union all
  -- Somebody else's function could stand in front of PostgreSQL's own.
  select null, 'function', p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', 'owner',
         pg_get_userbyid(p.proowner)::text
  from _guard_objects('pg_proc') as o
  join pg_proc as p on p.oid = o.oid
  where p.proowner <> (select home.owner from _guard_home() as home)
    and not exists (select from _guard_extensions() as e where e.classid = 'pg_proc'::regclass and e.objid = p.oid);
$function$;
comment on function _function_facts is
  'Guard facts: body, arguments, attributes and settings of each of our functions, and the owner of each other '
  'function in this schema.';

create function _type_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select null, 'type', t.typname::text, f.fact, f.value
  from _guard_objects('pg_type') as o
  join pg_type as t on t.oid = o.oid
  cross join lateral (values
    ('base', coalesce(format_type(nullif(t.typbasetype, 0), t.typtypmod), '')
       || case when t.typnotnull then ' not null' else '' end
       || coalesce(' collate ' || _collation_text(nullif(nullif(t.typcollation, 0), 100)), '')),
    ('default', coalesce(t.typdefault, '')),
    ('checks', coalesce((
       select string_agg(c.conname || ' ' || pg_get_constraintdef(c.oid)
                         || case when c.convalidated then '' else ' not valid' end, '; ' order by c.conname)
       from pg_constraint as c where c.contypid = t.oid and c.contype <> 'n'), ''))
  ) as f(fact, value)
  where t.typowner = (select home.owner from _guard_home() as home) and t.typtype in ('d', 'e', 'r', 'b')
    and not exists (select from _guard_extensions() as e where e.classid = 'pg_type'::regclass and e.objid = t.oid)
  union all
  -- What could change what an expression means.
  select null, 'operator', format('%s(%s, %s)', o.oprname, o.oprleft::regtype, o.oprright::regtype), 'owner',
         pg_get_userbyid(o.oprowner)::text
  from _guard_home() as home join pg_operator as o on o.oprnamespace = home.oid
  where not exists (select from _guard_extensions() as e
                    where e.classid = 'pg_operator'::regclass and e.objid = o.oid)
  union all
  select null, 'cast', format('%s as %s', c.castsource::regtype, c.casttarget::regtype), 'context',
         c.castcontext::text
  from pg_cast as c
  join pg_type as t on t.oid in (c.castsource, c.casttarget)
  cross join _guard_home() as home
  where t.typnamespace = home.oid and t.typowner = home.owner;
$function$;
comment on function _type_facts is
  'Guard facts: domains and other types, operators in this schema, and casts from or to our types.';

create function _extension_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select null, 'extension', x.extname::text, 'in the schema',
         format('of %s, version %s, %s objects, sha256 %s', pg_get_userbyid(x.extowner), x.extversion, count(*),
                encode(sha256(convert_to(
                  string_agg(concat_ws(' ', i.type, i.identity, pg_get_userbyid(p.proowner), p.probin, p.prosrc), E'\n'
                             order by i.type collate "C", i.identity collate "C"), 'UTF8')), 'hex'))
  from _guard_extensions() as e
  join pg_extension as x on x.oid = e.oid
  cross join lateral pg_identify_object(e.classid, e.objid, 0) as i
  left join pg_proc as p on e.classid = 'pg_proc'::regclass and p.oid = e.objid
  group by x.oid, x.extname, x.extowner, x.extversion;
$function$;
comment on function _extension_facts is
  'Guard facts: extensions that have objects in this schema, which could stand in front of PostgreSQL''s own; what '
  'each consists of, and whose that is, is in the hash.';

create function _guard_parts(relations _guard_relation[])
returns table (classid oid, objid oid)
language sql stable rows 2000
set search_path from current
as $function$
  with
  extensions as materialized (select e.* from _guard_extensions() as e),
  listed as materialized (
    select c.oid, c.reltype
    from _guard_objects('pg_class') as o join pg_class as c on c.oid = o.oid
    where not exists (select from extensions as e where (e.classid, e.objid) = ('pg_class'::regclass, c.oid))),
  types as materialized (
    select t.oid, t.typarray, t.typrelid
    from (select o.oid from _guard_objects('pg_type') as o union select r.reltype from listed as r) as o
    join pg_type as t on t.oid = o.oid
    where not exists (select from extensions as e where (e.classid, e.objid) = ('pg_type'::regclass, t.oid)))
  select 'pg_class'::regclass::oid, r.oid from listed as r
  union
  select 'pg_class'::regclass, t.typrelid from types as t where t.typrelid <> 0
  union
  select 'pg_class'::regclass, x.indexrelid
  from listed as r join pg_index as x on x.indrelid = r.oid
  union
  select 'pg_type'::regclass, a.oid from types as t cross join lateral unnest(array[t.oid, t.typarray]) as a(oid)
  where a.oid <> 0
  union
  select 'pg_proc'::regclass, o.oid
  from _guard_objects('pg_proc') as o
  where not exists (select from extensions as e where (e.classid, e.objid) = ('pg_proc'::regclass, o.oid))
  union all
  select 'pg_constraint'::regclass, c.oid
  from listed as r join pg_constraint as c on c.conrelid = r.oid
  union all
  select 'pg_constraint'::regclass, c.oid
  from types as t join pg_constraint as c on c.contypid = t.oid
  union all
  select 'pg_attrdef'::regclass, d.oid from unnest(relations) as r join pg_attrdef as d on d.adrelid = r.oid
  union all
  select 'pg_trigger'::regclass, t.oid
  from unnest(relations) as r join pg_trigger as t on t.tgrelid = r.oid and not t.tgisinternal
  union all
  -- ANALYZE runs the expressions of a statistics object as the owner.
  select 'pg_statistic_ext'::regclass, x.oid
  from unnest(relations) as r join pg_statistic_ext as x on x.stxrelid = r.oid;
$function$;
comment on function _guard_parts is 'All of ours that can have a type, an operator or an expression.';

create function _dependency_facts(relations _guard_relation[])
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  -- Of ours and PostgreSQL's own there is none. A language is a fact of its function.
  with parts as materialized (select p.* from _guard_parts(relations) as p)
  select null, o.type, replace(o.identity, quote_ident(home.nspname) || '.', ''), 'depends on',
         string_agg(distinct i.type || ' ' || i.identity, ', ')
  from _guard_home() as home
  cross join parts as p
  join pg_depend as d on d.classid = p.classid and d.objid = p.objid and d.deptype = 'n'
                     and d.refclassid not in ('pg_namespace'::regclass, 'pg_language'::regclass)
  cross join lateral pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid) as i
  cross join lateral pg_identify_object(d.classid, d.objid, 0) as o
  where not exists (select from parts as h where h.classid = d.refclassid and h.objid = d.refobjid)
  group by home.nspname, o.type, o.identity;
$function$;
comment on function _dependency_facts is
  'Guard facts: what ours takes from elsewhere, even where its text does not say so: a function behind a cast, an '
  'operator, an operator class, a collation.';

create function _right_facts(relations _guard_relation[])
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  with objects (chain, kind, name, acl, type, owner, grants_count) as materialized (
    select r.chain, 'relation', r.relname::text, r.relacl,
           case when r.relkind = 'S' then 's'::"char" else 'r'::"char" end, r.relowner, true
    from unnest(relations) as r where r.relkind <> 'c'
    union all
    select f.chain, 'function', f.signature, f.proacl, 'f'::"char", f.proowner, true from _guard_functions() as f
    union all
    -- A dump leaves out the rights on the row type of a table.
    select null, 'type', t.typname::text, t.typacl, 'T'::"char", t.typowner,
           t.typtype in ('d', 'e', 'r') or (select c.relkind from pg_class as c where c.oid = t.typrelid) = 'c'
    from _guard_objects('pg_type') as o
    join pg_type as t on t.oid = o.oid
    where t.typowner = (select home.owner from _guard_home() as home)
  )
  select o.chain, o.kind, o.name, 'grant to ' || coalesce(r.rolname, 'PUBLIC'),
         string_agg(a.privilege_type || case when a.is_grantable then '*' else '' end, ', ' order by a.privilege_type)
  from objects as o
  cross join lateral aclexplode(coalesce(o.acl, acldefault(o.type, o.owner))) as a
  left join pg_roles as r on r.oid = a.grantee
  where o.grants_count and a.grantee <> o.owner
  group by 1, 2, 3, 4
  union all
  -- Our functions run with the owner's rights. Without them they could no longer count, check or engage.
  select o.chain, o.kind, o.name, 'rights that the owner lacks',
         string_agg(d.privilege_type, ', ' order by d.privilege_type)
  from objects as o
  cross join lateral (
    select a.privilege_type from aclexplode(acldefault(o.type, o.owner)) as a where a.grantee = o.owner
    except
    select a.privilege_type from aclexplode(o.acl) as a where a.grantee = o.owner) as d
  where o.acl is not null
  group by 1, 2, 3;
$function$;
comment on function _right_facts is
  'Guard facts: who has which right on each relation, function and type, and rights that the owner was deprived of.';
