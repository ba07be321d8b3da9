create function guard_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
set quote_all_identifiers = off set standard_conforming_strings = on set jit = off
as $function$
  with
  home as materialized (
    select n.oid, n.nspname, n.nspowner, n.nspacl, o.oid as owner, i.role_prefix
    from only installation as i
    join pg_class as c on c.oid = i.tableoid
    join pg_namespace as n on n.oid = c.relnamespace
    join pg_roles as o on o.rolname = _owner_role()
  ),
  -- Extensions whose objects are in this schema: a fact each, not one for every object.
  members as materialized (
    select e.oid, e.extname, e.extversion, e.extowner, d.classid, d.objid
    from home
    join pg_extension as e on true
    join pg_depend as d on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid and d.deptype = 'e'
    where e.oid in (select x.refobjid from pg_depend as x
                    where x.refclassid = 'pg_extension'::regclass and x.deptype = 'e'
                      and home.oid in ((select c.relnamespace from pg_class as c where x.classid = 'pg_class'::regclass and c.oid = x.objid),
                                       (select p.pronamespace from pg_proc as p where x.classid = 'pg_proc'::regclass and p.oid = x.objid),
                                       (select t.typnamespace from pg_type as t where x.classid = 'pg_type'::regclass and t.oid = x.objid),
                                       (select o.oprnamespace from pg_operator as o where x.classid = 'pg_operator'::regclass and o.oid = x.objid)))
  ),
  extensions as materialized (
    select m.* from members as m
    union
    -- older versions do not make the array type of a member one
    select m.oid, m.extname, m.extversion, m.extowner, m.classid, t.typarray
    from members as m join pg_type as t on m.classid = 'pg_type'::regclass and t.oid = m.objid and t.typarray <> 0
  ),
  relations as materialized (
    select c.*, r.rolname as owner_name,
           case when h.table_name is not null then h.table_name else g.table_name end as chain
    from home
    join pg_class as c on c.relnamespace = home.oid and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'c')
    join pg_roles as r on r.oid = c.relowner
    left join only chains as h on h.table_name = c.relname
    left join only chains as g on c.relname in ('lock_' || g.table_name, 'writer_' || g.table_name, 'tail_' || g.table_name, 'hashed_' || g.table_name,
                                                 g.table_name || '_id_seq')
    where h.table_name is not null
       or c.relowner = home.owner and not exists (select from extensions as e where e.classid = 'pg_class'::regclass and e.objid = c.oid)
  ),
  functions as materialized (
    select p.*, p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' as signature, g.table_name as chain
    from home
    join pg_proc as p on p.pronamespace = home.oid and p.proowner = home.owner
    left join only chains as g on p.proname = 'chain_' || g.table_name and p.pronargs = 0
    where not exists (select from extensions as e where e.classid = 'pg_proc'::regclass and e.objid = p.oid)
  ),
  ours as materialized (
    select r.oid, r.rolname::text as name, r.oid = home.owner as is_owner
    from home
    cross join unnest(array['alpha_owner', 'app_trading', 'app_auditor', 'app_risk']) as a(name)
    join pg_roles as r on r.rolname = home.role_prefix || a.name
  ),
  -- Predefined roles by which a login reaches the log without a right on it. Not among them, because they change nothing:
  -- pg_read_all_data and pg_monitor with its parts read, pg_checkpoint and pg_signal_autovacuum_worker cost time,
  -- pg_use_reserved_connections opens a session. pg_database_owner has one member, who is a fact of the schema.
  powers (name) as materialized (values
    ('pg_write_all_data'),          -- writes every table, and sets every sequence back
    ('pg_execute_server_program'),  -- is the server's user in the operating system
    ('pg_write_server_files'),      -- writes the data files
    ('pg_read_server_files'),       -- reads the server's private key and the passwords' verifiers
    ('pg_signal_backend'),          -- ends every verification
    ('pg_maintain'),                -- 17: locks every table
    ('pg_create_subscription')),    -- 16: what a subscription writes meets no ordinary trigger, so no chain
  memberships as materialized (
    with recursive reach (role, member, is_admin) as (
      select m.roleid, m.member, m.admin_option
      from pg_auth_members as m
      where m.roleid in (select o.oid from ours as o union all select to_regrole(p.name) from powers as p)
      union
      -- a member of who has the admin option has it too
      select reach.role, m.member, reach.is_admin from reach join pg_auth_members as m on m.roleid = reach.member
    )
    select pg_get_userbyid(reach.role)::text as role_name, coalesce(o.is_owner, false) as is_owner, o.oid is null as is_power,
           reach.member as member, r.rolname::text as name, bool_or(reach.is_admin) as is_admin,
           concat_ws(', ', case when r.rolsuper then 'superuser' end, case when r.rolcreaterole then 'createrole' end,
                     case when r.rolbypassrls then 'bypassrls' end, case when r.rolreplication then 'replication' end) as attributes
    from reach
    join pg_roles as r on r.oid = reach.member
    left join ours as o on o.oid = reach.role
    group by reach.role, o.is_owner, o.oid, reach.member, r.rolname, r.rolsuper, r.rolcreaterole, r.rolbypassrls, r.rolreplication
  ),
  -- Whatever of ours can have a type, an operator or an expression
  parts (classid, objid) as materialized (
    (select 'pg_class'::regclass::oid, c.oid from home join pg_class as c on c.relnamespace = home.oid
     union all
     select 'pg_proc'::regclass, p.oid from home join pg_proc as p on p.pronamespace = home.oid
     union all
     select 'pg_type'::regclass, t.oid from home join pg_type as t on t.typnamespace = home.oid
     except all
     select e.classid, e.objid from extensions as e)
    union all
    select 'pg_constraint'::regclass, c.oid from home join pg_constraint as c on c.connamespace = home.oid
    where not exists (select from extensions as e where (e.classid, e.objid) in (('pg_class'::regclass, c.conrelid), ('pg_type'::regclass, c.contypid)))
    union all
    select 'pg_attrdef'::regclass, d.oid from relations as r join pg_attrdef as d on d.adrelid = r.oid
    union all
    select 'pg_trigger'::regclass, t.oid from relations as r join pg_trigger as t on t.tgrelid = r.oid and not t.tgisinternal
    union all
    -- its expressions are run by ANALYZE, as the owner
    select 'pg_statistic_ext'::regclass, x.oid from relations as r join pg_statistic_ext as x on x.stxrelid = r.oid
  ),
  facts (table_name, object_kind, object_name, fact, value) as (
    -- the schema: who may create in it, who may use it of ours
    select null, 'schema', home.nspname::text, 'owner', pg_get_userbyid(home.nspowner)::text from home
    union all
    -- A schema of pg_database_owner belongs to whoever owns the database.
    select null, 'schema', home.nspname::text, 'owner of the database', pg_get_userbyid(d.datdba)::text
    from home join pg_database as d on d.datname = current_database()
    where pg_get_userbyid(home.nspowner) = 'pg_database_owner'
    union all
    select null, 'schema', home.nspname::text, 'grant to ' || g.grantee, g.privileges
    from home cross join lateral _grants_text(home.nspacl, home.nspowner) as g
    where g.privileges ~ 'CREATE' or g.grantee in (select _app_role(a.name) from unnest(array['app_trading', 'app_auditor', 'app_risk']) as a(name))

    -- roles
    union all
    select null, 'role', r.rolname::text, 'attributes',
           concat_ws(', ', case when r.rolsuper then 'superuser' end, case when r.rolcanlogin then 'login' end,
                     case when r.rolcreaterole then 'createrole' end, case when r.rolcreatedb then 'createdb' end,
                     case when r.rolbypassrls then 'bypassrls' end, case when r.rolreplication then 'replication' end)
    from ours as o join pg_roles as r on r.oid = o.oid
    union all
    select null, 'role', r.rolname::text, 'superuser', 'yes'
    from pg_roles as r where r.rolsuper and not exists (select from ours as o where o.oid = r.oid)
    union all
    select null, 'role', m.role_name, f.fact || m.name, 'yes'
    from memberships as m
    cross join lateral (values
      ('member ', m.is_owner or m.is_power and m.attributes !~ 'superuser'),
      ('admin ', m.is_admin and not m.is_power)) as f(fact, holds)
    where f.holds
    union all
    select distinct null, 'role', m.name, 'attributes', m.attributes
    from memberships as m
    where m.attributes <> '' and not m.is_power and not exists (select from ours as o where o.oid = m.member)
    union all
    select distinct null, 'role', g.name, 'member of ' || g.of_role, 'yes'
    from (
      with recursive reach (name, role) as (
        select o.name, am.roleid from ours as o join pg_auth_members as am on am.member = o.oid
        union
        select reach.name, am.roleid from reach join pg_auth_members as am on am.member = reach.role
      )
      select reach.name::text as name, pg_get_userbyid(reach.role)::text as of_role from reach) as g

    -- settings that switch a protection off: of the database and of roles, and of the server as far as this session shows them
    union all
    select null, 'setting',
           case when d.setrole = 0 then 'all roles' else r.rolname::text end
             || case when d.setdatabase = 0 and d.setrole = 0 then ' in every database'
                     when d.setdatabase <> 0 and d.setrole <> 0 then ' in this database' else '' end,
           v.name, s.setting
    from pg_db_role_setting as d
    cross join lateral unnest(d.setconfig) as s(setting)
    cross join lateral (select lower(split_part(s.setting, '=', 1)), substr(s.setting, strpos(s.setting, '=') + 1)) as v(name, value)
    left join pg_roles as r on r.oid = d.setrole
    where d.setdatabase in (0, (select db.oid from pg_database as db where db.datname = current_database()))
      and _switches_off(v.name, v.value)
    union all
    -- who was given leave to change such a one for himself or in the server's file, or to have the server load code
    select null, 'setting', p.parname, 'grant to ' || g.grantee, g.privileges
    from pg_parameter_acl as p cross join lateral _grants_text(p.paracl, 10) as g
    where g.privileges ~ 'ALTER SYSTEM'  -- of any: it reaches what the server runs
       or p.parname in ('session_replication_role', 'event_triggers', 'log_min_messages', 'allow_system_table_mods',
                        'ignore_system_indexes', 'ignore_checksum_failure', 'zero_damaged_pages', 'session_preload_libraries',
                        'local_preload_libraries', 'shared_preload_libraries', 'dynamic_library_path', 'jit_provider',
                        'archive_command', 'restore_command')
    union all
    -- search_path and standard_conforming_strings are pinned here, so what the server's file says of them does not show
    select null, 'setting', 'server', n.name, n.name || '=' || current_setting(n.name)
    from unnest(array['session_replication_role', 'default_transaction_read_only', 'event_triggers', 'row_security',
                      'log_min_messages', 'allow_system_table_mods', 'ignore_system_indexes', 'ignore_checksum_failure',
                      'zero_damaged_pages']) as n(name)
    where _switches_off(n.name, current_setting(n.name, true))
      and (select s.source from pg_settings as s where s.name = n.name)
          in ('configuration file', 'command line', 'environment variable', 'global')

    -- What the owner took from itself: its functions run with its rights, and could no longer count, check or engage.
    union all
    select x.chain, x.kind, x.name, 'rights that the owner lacks', string_agg(d.privilege_type, ', ' order by d.privilege_type)
    from (select r.chain, 'relation', r.relname::text, r.relacl, case when r.relkind = 'S' then 's'::"char" else 'r'::"char" end, r.relowner
          from relations as r where r.relkind <> 'c'
          union all
          select f.chain, 'function', f.signature, f.proacl, 'f'::"char", f.proowner from functions as f
          union all
          select null, 'type', t.typname::text, t.typacl, 'T'::"char", t.typowner
          from home join pg_type as t on t.typnamespace = home.oid and t.typowner = home.owner) as x (chain, kind, name, acl, type, owner)
    cross join lateral aclexplode(acldefault(x.type, x.owner)) as d
    where x.acl is not null and d.grantee = x.owner
      and not exists (select from aclexplode(x.acl) as a where a.grantee = x.owner and a.privilege_type = d.privilege_type)
    group by x.chain, x.kind, x.name

    -- tables, views, sequences, composite types
    union all
    select r.chain, 'relation', r.relname::text, f.fact, f.value
    from relations as r
    cross join lateral (values
      ('kind', r.relkind::text),
      ('owner', r.owner_name::text),
      ('persistence', concat(r.relpersistence, case when r.relam not in (0, 2) then ' in ' end,
         case when r.relam not in (0, 2) then (select m.amname from pg_am as m where m.oid = r.relam) end)),
      ('row security', case when r.relkind not in ('S', 'c') then
         concat_ws(', ', case when r.relrowsecurity then 'on' end, case when r.relforcerowsecurity then 'forced' end) end),
      ('options', case when r.relkind not in ('S', 'c') then coalesce(array_to_string(r.reloptions, ', '), '') end),
      -- the flags in the catalogue without which PostgreSQL does not look for triggers, CHECKs, indexes
      ('triggers are seen', case when r.relkind not in ('S', 'c') then
         (r.relhastriggers or not exists (select from pg_trigger as t where t.tgrelid = r.oid))::text end),
      ('checks are seen', case when r.relkind = 'r' and r.relchecks <> (
         select count(*) from pg_constraint as c where c.conrelid = r.oid and c.contype = 'c') then 'false' end),
      ('indexes are seen', case when r.relkind = 'r' and not r.relhasindex and exists (
         select from pg_index as x where x.indrelid = r.oid) then 'false' end)
    ) as f(fact, value)
    where f.value is not null
    union all
    -- What a subscription writes meets no trigger that is not ALWAYS: neither the chain nor the lockdown.
    select r.chain, 'relation', r.relname::text, 'subscription ' || s.subname,
           case when s.subenabled then 'enabled' else 'disabled' end
    from relations as r
    join pg_subscription_rel as w on w.srrelid = r.oid
    join pg_subscription as s on s.oid = w.srsubid
    union all
    select r.chain, 'relation', r.relname::text, 'sequence',
           format('%s, start %s, increment %s, from %s to %s, cache %s%s%s',
                  format_type(q.seqtypid, null), q.seqstart, q.seqincrement, q.seqmin, q.seqmax, q.seqcache, case when q.seqcycle then ', cycles' else '' end,
                  (select ', owned by ' || c.relname || '.' || a.attname
                   from pg_depend as d
                   join pg_class as c on c.oid = d.refobjid
                   join pg_attribute as a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
                   where d.classid = 'pg_class'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
                     and d.deptype in ('a', 'i') and d.refobjsubid > 0))
    from relations as r join pg_sequence as q on q.seqrelid = r.oid
    union all
    select r.chain, 'relation', r.relname::text, 'grant to ' || g.grantee, g.privileges
    from relations as r cross join lateral _grants_text(r.relacl, r.relowner) as g
    union all
    select r.chain, 'relation', r.relname::text, 'child ' || i.inhrelid::regclass::text, 'yes'
    from relations as r join pg_inherits as i on i.inhparent = r.oid
    union all
    select r.chain, 'relation', r.relname::text, 'parent ' || i.inhparent::regclass::text, 'yes'
    from relations as r join pg_inherits as i on i.inhrelid = r.oid
    union all
    select r.chain, 'relation', r.relname::text, 'policy ' || p.polname, 'yes'
    from relations as r join pg_policy as p on p.polrelid = r.oid
    union all
    select r.chain, 'relation', r.relname::text, 'rule ' || w.rulename, 'yes'
    from relations as r join pg_rewrite as w on w.ev_class = r.oid
    where w.rulename <> '_RETURN' or r.relkind <> 'v'
    union all
    -- What a view says, and what it takes it from
    select r.chain, 'relation', r.relname::text, f.fact, f.value
    from relations as r
    cross join lateral (values
      ('definition', encode(sha256(convert_to(_view_text(r.oid), 'UTF8')), 'hex')),
      ('depends on', coalesce((
         select string_agg(distinct case
                  when c.oid is null then (
                    select replace(i.identity, quote_ident(home.nspname) || '.', '')
                    from pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid) as i)
                  else concat(case when c.relnamespace <> r.relnamespace then n.nspname || '.' end, c.relname, '.' || a.attname) end, ', ')
         from home
         join pg_rewrite as w on w.ev_class = r.oid and w.rulename = '_RETURN'
         -- until 15, a view depends on itself
         join pg_depend as d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid and d.deptype = 'n'
                            and (d.refclassid, d.refobjid) <> ('pg_class'::regclass, r.oid)
         left join pg_class as c on d.refclassid = 'pg_class'::regclass and c.oid = d.refobjid
         left join pg_namespace as n on n.oid = c.relnamespace
         left join pg_attribute as a on a.attrelid = c.oid and a.attnum = d.refobjsubid and d.refobjsubid <> 0), ''))
    ) as f(fact, value)
    where r.relkind = 'v'
    union all
    -- What anything else takes from elsewhere, even where its text does not say so: a function behind a cast, an operator,
    -- an operator class, a collation. Of ours and PostgreSQL's own there is none; a language is a fact of its function.
    select null, o.type, replace(o.identity, quote_ident(home.nspname) || '.', ''), 'depends on',
           string_agg(distinct i.type || ' ' || i.identity, ', ')
    from home
    cross join parts as p
    join pg_depend as d on d.classid = p.classid and d.objid = p.objid and d.deptype = 'n'
                       and d.refclassid not in ('pg_namespace'::regclass, 'pg_language'::regclass)
    cross join lateral pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid) as i
    cross join lateral pg_identify_object(d.classid, d.objid, 0) as o
    where not exists (select from parts as h where h.classid = d.refclassid and h.objid = d.refobjid)
    group by home.nspname, o.type, o.identity

    -- columns
    union all
    select r.chain, 'column', r.relname || '.' || a.attname, f.fact, f.value
    from relations as r
    join pg_attribute as a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef as d on d.adrelid = r.oid and d.adnum = a.attnum
    cross join lateral (values
      ('type', format_type(a.atttypid, a.atttypmod)),
      ('not null', a.attnotnull::text),
      ('default', coalesce(pg_get_expr(d.adbin, d.adrelid), '')),
      ('generated', a.attidentity::text || a.attgenerated::text),
      -- one that does not tell two keys apart, or sorts them otherwise
      ('collation', case when a.attcollation not in (0, 100) then _collation_text(a.attcollation) end)
    ) as f(fact, value)
    where r.relkind in ('r', 'p', 'c') and f.value is not null
    union all
    select r.chain, 'column', r.relname || '.' || a.attname, 'type', format_type(a.atttypid, a.atttypmod)
    from relations as r
    join pg_attribute as a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    where r.relkind = 'v'
    union all
    select r.chain, 'column', r.relname || '.' || a.attname, 'grant to ' || g.grantee, g.privileges
    from relations as r
    join pg_attribute as a on a.attrelid = r.oid and not a.attisdropped and a.attacl is not null
    cross join lateral _grants_text(a.attacl, r.relowner) as g

    -- constraints and indexes; a NOT NULL is a fact of its column on every version
    union all
    select r.chain, 'constraint', r.relname || '.' || c.conname, f.fact, f.value
    from relations as r
    join pg_constraint as c on c.conrelid = r.oid and c.contype <> 'n'
    cross join lateral (values
      ('definition', pg_get_constraintdef(c.oid)),
      ('enforced', concat_ws(', ', case when c.convalidated then 'validated' end,
                             case when coalesce((to_jsonb(c) ->> 'conenforced')::boolean, true) then 'enforced' end,
                             case when c.condeferrable then 'deferrable' end)),
      ('triggers', case when c.contype = 'f' or c.condeferrable then
         coalesce((select string_agg(distinct t.tgenabled::text, '') from pg_trigger as t where t.tgconstraint = c.oid), '') else '' end)
    ) as f(fact, value)
    union all
    select r.chain, 'index', i.relname::text, f.fact, f.value
    from relations as r
    join pg_index as x on x.indrelid = r.oid
    join pg_class as i on i.oid = x.indexrelid
    join pg_am as m on m.oid = i.relam
    cross join lateral (values
      ('columns', r.relname || '(' || coalesce((select string_agg(coalesce(a.attname::text, 'expression'), ', ' order by k.place)
                  from unnest(x.indkey::smallint[]) with ordinality as k(attnum, place)
                  left join pg_attribute as a on a.attrelid = r.oid and a.attnum = k.attnum and k.attnum > 0), '') || ')'),
      ('properties', concat_ws(', ', case when x.indisunique then 'unique' end, case when x.indisvalid then 'valid' end,
                     'partial: ' || pg_get_expr(x.indpred, x.indrelid), 'expressions: ' || pg_get_expr(x.indexprs, x.indrelid),
                     case when x.indnullsnotdistinct then 'nulls not distinct' end,
                     case when not x.indisready then 'not ready' end, case when not x.indislive then 'dead' end,
                     case when not x.indimmediate then 'deferrable' end,
                     case when m.amname <> 'btree' then m.amname end,
                     case when x.indoption::text ~ '[1-9]' then 'order ' || x.indoption::text end,
                     case when x.indcollation::text ~ '(^| )(?!(0|100)( |$))' then
                       (select string_agg('collation ' || _collation_text(k.coll), ', ' order by k.place)
                        from unnest(x.indcollation::oid[]) with ordinality as k(coll, place) where k.coll <> 0) end,
                     (select string_agg('operators ' || n.nspname || '.' || k.opcname, ', ' order by u.place)
                      from unnest(x.indclass::oid[]) with ordinality as u(class, place)
                      join pg_opclass as k on k.oid = u.class
                      join pg_namespace as n on n.oid = k.opcnamespace
                      where not (k.opcdefault and n.nspname = 'pg_catalog'))))
    ) as f(fact, value)

    -- triggers of ours and of others
    union all
    select r.chain, 'trigger', r.relname || '.' || t.tgname, f.fact, f.value
    from relations as r
    join pg_trigger as t on t.tgrelid = r.oid and not t.tgisinternal
    join pg_proc as p on p.oid = t.tgfoid
    join pg_namespace as n on n.oid = p.pronamespace
    cross join lateral (values
      ('function', case when n.oid = r.relnamespace then '' else n.nspname || '.' end || p.proname
                   || '(' || array_to_string(string_to_array(rtrim(encode(t.tgargs, 'escape'), E'\\000'), E'\\000'), ', ') || ')'),
      ('timing', concat(t.tgtype,
         case when t.tgqual is not null then ' when ' || substring(pg_get_triggerdef(t.oid) from ' WHEN (.*) EXECUTE FUNCTION ') end,
         case when t.tgattr::text <> '' then ' of ' || (select string_agg(a.attname::text, ', ' order by a.attnum) from pg_attribute as a
                                                        where a.attrelid = r.oid and a.attnum = any (t.tgattr::smallint[])) end)),
      ('enabled', case t.tgenabled when 'O' then 'origin' when 'A' then 'always' when 'R' then 'replica' else 'disabled' end)
    ) as f(fact, value)

    -- functions
    union all
    select f.chain, 'function', f.signature, v.fact, v.value
    from functions as f
    join pg_language as l on l.oid = f.prolang
    cross join lateral (values
      ('body', encode(sha256(convert_to(
         f.prosrc || case when f.prosqlbody is not null then pg_get_function_sqlbody(f.oid) else '' end, 'UTF8')), 'hex')),
      ('arguments', pg_get_function_arguments(f.oid)),
      ('result', coalesce(pg_get_function_result(f.oid), '')),
      ('attributes', concat_ws(', ', l.lanname, case f.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
                     case when f.prosecdef then 'security definer' end, case when f.proisstrict then 'strict' end,
                     case when f.proleakproof then 'leakproof' end, 'parallel ' || f.proparallel::text,
                     case when f.prosupport <> 0 then 'support ' || f.prosupport::regproc::text end)),
      ('settings', coalesce(array_to_string(f.proconfig, '; '), ''))
    ) as v(fact, value)
    union all
    select f.chain, 'function', f.signature, 'grant to ' || g.grantee, g.privileges
    from functions as f cross join lateral _grants_text(coalesce(f.proacl, acldefault('f', f.proowner)), f.proowner) as g

    -- somebody else's function could stand in front of PostgreSQL's own
    union all
    select null, 'function', p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', 'owner', pg_get_userbyid(p.proowner)::text
    from home join pg_proc as p on p.pronamespace = home.oid and p.proowner <> home.owner
    where not exists (select from extensions as e where e.classid = 'pg_proc'::regclass and e.objid = p.oid)
    union all
    -- … and so could an extension's. What it consists of, and whose that is, is in the hash.
    select null, 'extension', e.extname::text, 'in the schema',
           format('of %s, version %s, %s objects, sha256 %s', pg_get_userbyid(e.extowner), e.extversion, count(*),
                  encode(sha256(convert_to(string_agg(concat_ws(' ', i.type, i.identity, pg_get_userbyid(p.proowner), p.probin, p.prosrc), E'\n'
                                                      order by i.type collate "C", i.identity collate "C"), 'UTF8')), 'hex'))
    from extensions as e
    cross join lateral pg_identify_object(e.classid, e.objid, 0) as i
    left join pg_proc as p on e.classid = 'pg_proc'::regclass and p.oid = e.objid
    group by e.oid, e.extname, e.extowner, e.extversion

    -- domains and other types
    union all
    select null, 'type', t.typname::text, f.fact, f.value
    from home
    join pg_type as t on t.typnamespace = home.oid and t.typowner = home.owner and t.typtype in ('d', 'e', 'r', 'b')
                     and t.typcategory <> 'A'
                     and not exists (select from extensions as e where e.classid = 'pg_type'::regclass and e.objid = t.oid)
    cross join lateral (values
      ('base', coalesce(format_type(nullif(t.typbasetype, 0), t.typtypmod), '') || case when t.typnotnull then ' not null' else '' end
               || coalesce(' collate ' || _collation_text(nullif(nullif(t.typcollation, 0), 100)), '')),
      ('default', coalesce(t.typdefault, '')),
      ('checks', coalesce((select string_agg(c.conname || ' ' || pg_get_constraintdef(c.oid) || case when c.convalidated then '' else ' not valid' end, '; ' order by c.conname)
                  from pg_constraint as c where c.contypid = t.oid and c.contype <> 'n'), ''))
    ) as f(fact, value)
    union all
    select null, 'type', t.typname::text, 'grant to ' || g.grantee, g.privileges
    from home
    join pg_type as t on t.typnamespace = home.oid and t.typowner = home.owner and (t.typtype in ('d', 'e', 'r') or (select c.relkind from pg_class as c where c.oid = t.typrelid) = 'c')
    cross join lateral _grants_text(coalesce(t.typacl, acldefault('T', t.typowner)), t.typowner) as g

    -- rights that objects made later would be born with, and objects that could change what an expression means
    union all
    select null, 'default rights', coalesce(n.nspname::text, 'all schemas'), d.defaclobjtype::text || ' to ' || g.grantee, g.privileges
    from home
    join pg_default_acl as d on d.defaclrole = home.owner and d.defaclnamespace in (0, home.oid)
    left join pg_namespace as n on n.oid = d.defaclnamespace
    cross join lateral _grants_text(d.defaclacl, d.defaclrole) as g
    union all
    select null, 'operator', format('%s(%s, %s)', o.oprname, o.oprleft::regtype, o.oprright::regtype), 'owner', pg_get_userbyid(o.oprowner)::text
    from home join pg_operator as o on o.oprnamespace = home.oid
    where not exists (select from extensions as e where e.classid = 'pg_operator'::regclass and e.objid = o.oid)
    union all
    select null, 'cast', format('%s as %s', c.castsource::regtype, c.casttarget::regtype), 'context', c.castcontext::text
    from home
    join pg_type as t on t.typnamespace = home.oid and t.typowner = home.owner
    join pg_cast as c on t.oid in (c.castsource, c.casttarget)

    -- the registers, and the DDL guard if it is installed
    union all
    select null, 'register', 'installation', f.fact, f.value
    from only installation as i
    cross join lateral (values ('installation_id', i.installation_id::text), ('role_prefix', i.role_prefix)) as f(fact, value)
    union all
    select null, 'register', 'installed_migrations', m.name, coalesce(m.checksum::text, '')
    from only installed_migrations as m
    union all
    select null, 'register', 'attempt_counters', concat_ws(' ', a.code, a.operation, a.table_name), a.sequence_name
    from only attempt_counters as a
    union all
    select c.table_name, 'chain', c.table_name, 'register',
           concat_ws(', ', c.position, case when c.is_internal then 'internal' end, case when c.open_in_lockdown then 'open in lockdown' end)
    from only chains as c
    union all
    select null, 'event trigger', e.evtname::text, f.fact, f.value
    from home
    join pg_event_trigger as e on e.evtname in (left('alpha_ddl_guard_end_' || home.nspname, 63), left('alpha_ddl_guard_drop_' || home.nspname, 63))
    join pg_proc as p on p.oid = e.evtfoid
    cross join lateral (values
      ('event', e.evtevent::text),
      ('owner', pg_get_userbyid(e.evtowner)::text),
      ('enabled', case e.evtenabled when 'O' then 'origin' when 'A' then 'always' when 'R' then 'replica' else 'disabled' end),
      ('function', p.proname || ' of ' || pg_get_userbyid(p.proowner) || ' ' || encode(sha256(convert_to(p.prosrc || coalesce(
         (select k.prosrc from pg_proc as k where k.pronamespace = p.pronamespace and k.proname = 'check_command'), ''), 'UTF8')), 'hex'))
    ) as f(fact, value)
  )
  select f.table_name::text, f.object_kind, f.object_name, f.fact, f.value from facts as f
$function$;
comment on function guard_facts is
  'What protects this installation, as facts from the catalogues by name: schema, roles, relations, columns, constraints, triggers, functions, domains, grants.';
