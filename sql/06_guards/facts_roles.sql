-- Guard facts about who can do what: the schema, the roles, and settings that switch a protection off.
--
-- A setting that can switch a protection off stands in three places: in _switches_off with its harmless values, and in
-- _setting_facts among those that the server can set and among those that somebody can be granted.

create function _schema_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select null, 'schema', home.nspname::text, 'owner', pg_get_userbyid(home.nspowner)::text
  from _guard_home() as home
  union all
  -- A schema of pg_database_owner belongs to whoever owns the database.
  select null, 'schema', home.nspname::text, 'owner of the database', pg_get_userbyid(d.datdba)::text
  from _guard_home() as home join pg_database as d on d.datname = current_database()
  where pg_get_userbyid(home.nspowner) = 'pg_database_owner'
  union all
  select null, 'schema', home.nspname::text, 'grant to ' || g.grantee, g.privileges
  from _guard_home() as home cross join lateral _grants_text(home.nspacl, home.nspowner) as g
  where g.privileges ~ 'CREATE'
     or g.grantee in (select o.rolname::text from _guard_roles() as o where not o.is_owner)
  union all
  -- Rights that objects made later would be born with.
  select null, 'default rights', coalesce(n.nspname::text, 'all schemas'),
         d.defaclobjtype::text || ' to ' || g.grantee, g.privileges
  from _guard_home() as home
  join pg_default_acl as d on d.defaclrole = home.owner and d.defaclnamespace in (0, home.oid)
  left join pg_namespace as n on n.oid = d.defaclnamespace
  cross join lateral _grants_text(d.defaclacl, d.defaclrole) as g;
$function$;
comment on function _schema_facts is
  'Guard facts: who owns the schema, who may create in it, and which of our roles may use it; default privileges.';

create function _role_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  with
  ours as materialized (select o.* from _guard_roles() as o),
  members as materialized (select m.* from _guard_members() as m)
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
  from members as m
  cross join lateral (values
    ('member ', m.is_owner or m.is_power and m.attributes !~ 'superuser'),
    ('admin ', m.is_admin and not m.is_power)) as f(fact, holds)
  where f.holds
  union all
  select distinct null, 'role', m.name, 'attributes', m.attributes
  from members as m
  where m.attributes <> '' and not m.is_power and not exists (select from ours as o where o.oid = m.member)
  union all
  select distinct null, 'role', g.name, 'member of ' || g.of_role, 'yes'
  from (
    with recursive reach (name, role) as (
      select o.rolname, am.roleid from ours as o join pg_auth_members as am on am.member = o.oid
      union
      select reach.name, am.roleid from reach join pg_auth_members as am on am.member = reach.role
    )
    select reach.name::text as name, pg_get_userbyid(reach.role)::text as of_role from reach) as g;
$function$;
comment on function _role_facts is
  'Guard facts: what our roles may, who is a member of them, every superuser, and who reaches the log past our roles.';

create function _switches_off(name text, value text) returns boolean
language sql immutable
set search_path from current
as $function$
  select case name
    when 'session_replication_role'      then value <> 'origin'           -- ordinary triggers do not fire
    when 'default_transaction_read_only' then value not in ('off', 'false', 'no', '0')  -- nothing is recorded
    when 'event_triggers'                then value not in ('on', 'true', 'yes', '1')   -- 17: nor does the DDL guard
    when 'row_security'                  then value not in ('on', 'true', 'yes', '1')
    when 'standard_conforming_strings'   then value not in ('on', 'true', 'yes', '1')   -- literals mean something else
    when 'log_min_messages'              then value in ('fatal', 'panic')  -- refusals leave no line in the server's log
    when 'allow_system_table_mods'       then value not in ('off', 'false', 'no', '0')
    when 'ignore_system_indexes'         then value not in ('off', 'false', 'no', '0')
    when 'ignore_checksum_failure'       then value not in ('off', 'false', 'no', '0')
    when 'zero_damaged_pages'            then value not in ('off', 'false', 'no', '0')
    -- The path belongs to the operator, unless it puts somebody's objects in front of PostgreSQL's own.
    when 'search_path' then value ~ ',[[:space:]]*"?pg_catalog"?[[:space:]]*(,|$)'
                         or value ~ '^[[:space:]]*"?pg_temp"?[[:space:]]*(,|$)'
    else false end;
$function$;
comment on function _switches_off is
  'Whether a setting of a database, a role or the server switches off what protects the log.';

create function _setting_facts()
returns table (table_name text, object_kind text, object_name text, fact text, value text)
language sql stable
set search_path from current
as $function$
  select null, 'setting',
         case when d.setrole = 0 then 'all roles' else r.rolname::text end
           || case when d.setdatabase = 0 and d.setrole = 0 then ' in every database'
                   when d.setdatabase <> 0 and d.setrole <> 0 then ' in this database' else '' end,
         v.name, s.setting
  from pg_db_role_setting as d
  cross join lateral unnest(d.setconfig) as s(setting)
  cross join lateral (select lower(split_part(s.setting, '=', 1)),
                             substr(s.setting, strpos(s.setting, '=') + 1)) as v(name, value)
  left join pg_roles as r on r.oid = d.setrole
  where d.setdatabase in (0, (select db.oid from pg_database as db where db.datname = current_database()))
    and _switches_off(v.name, v.value)
  union all
  -- Grants by which somebody may change such a setting, alone or in the server's file, or have the server load code.
  select null, 'setting', p.parname, 'grant to ' || g.grantee, g.privileges
  from pg_parameter_acl as p cross join lateral _grants_text(p.paracl, 10) as g
  where g.privileges ~ 'ALTER SYSTEM'  -- of any setting: it reaches what the server runs
     or p.parname in ('session_replication_role', 'event_triggers', 'log_min_messages', 'allow_system_table_mods',
                      'ignore_system_indexes', 'ignore_checksum_failure', 'zero_damaged_pages',
                      'session_preload_libraries', 'local_preload_libraries', 'shared_preload_libraries',
                      'dynamic_library_path', 'jit_provider', 'archive_command', 'restore_command')
  union all
  -- The server's own settings, as far as this session shows them. guard_facts pins search_path and
  -- standard_conforming_strings, so the server's values of these two do not show.
  select null, 'setting', 'server', n.name, n.name || '=' || current_setting(n.name)
  from unnest(array['session_replication_role', 'default_transaction_read_only', 'event_triggers', 'row_security',
                    'log_min_messages', 'allow_system_table_mods', 'ignore_system_indexes', 'ignore_checksum_failure',
                    'zero_damaged_pages']) as n(name)
  where _switches_off(n.name, current_setting(n.name, true))
    and (select s.source from pg_settings as s where s.name = n.name)
        in ('configuration file', 'command line', 'environment variable', 'global');
$function$;
comment on function _setting_facts is
  'Guard facts: settings of the database, of roles and of the server that switch a protection off, and who may set '
  'them.';
