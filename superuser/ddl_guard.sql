-- Optional, as superuser, after the migrations: an event trigger that refuses DDL on protected objects (AUD-011).
--   psql -X -1 -v ON_ERROR_STOP=1 -f superuser/ddl_guard.sql         (search_path as for the migrations)
-- Then, as the role that migrates, record it:  select record_guards('DDL guard installed');
-- Applying it again replaces it. superuser/ddl_guard.rollback.sql takes it away.
--
-- All of it belongs to the superuser: nobody below may change what it does. And it runs nothing of alpha_owner's with a
-- superuser's rights: it knows the protected names from a table of its own, and raises its refusals itself. Only a command
-- that touches protected objects, with a reason, calls one function of alpha_owner's, which switches to its owner.

do $guard$
declare
  -- Types are looked up before the first statement runs: they are named with their schema, too.
  desk           pg_catalog.text := pg_catalog.current_schema();
  previous_path  pg_catalog.text := pg_catalog.current_setting('search_path');
  owner_name     pg_catalog.text;
begin
-- First of all: until this is set, a function or an operator of somebody else could stand in front of PostgreSQL's own.
perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
if not (select r.rolsuper from pg_roles as r where r.rolname = current_user) then
  raise exception 'alpha-db: an event trigger needs a superuser, and % is none', current_user
    using errcode = '42501', hint = 'The kit works without this step; verify_guards() reports afterwards what the DDL guard would refuse.';
end if;
select pg_get_userbyid(c.relowner) into owner_name from pg_class as c where c.oid = to_regclass(format('%I.guard_states', desk));
if not found or owner_name !~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$'
   or to_regprocedure(format('%I._record_maintenance(text, text, text)', desk)) is null then
  raise exception 'alpha-db is not installed in schema %', coalesce(desk, '(none)')
    using errcode = '55000', hint = 'Apply migrations 001 to 004 first, with the same search_path.';
end if;
-- The first lock keeps the superuser's steps of other schemas out, the second this schema's migrations. Nobody below its owner can
-- hold either, and the second resolves no name of the schema but its own.
lock table pg_event_trigger in share row exclusive mode;
execute format('lock table only %I.lock_migrations in share update exclusive mode', desk);
if octet_length(desk) > 42 then
  raise exception 'alpha-db: the name of schema % is too long for the DDL guard', desk
    using errcode = '22023', hint = 'At most 42 bytes.';
end if;
-- A schema of its own, which nobody else may have prepared.
if exists (
     select from pg_namespace as n
     where n.nspname = 'alpha_db_guard'
       and (not (select r.rolsuper from pg_roles as r where r.oid = n.nspowner)
            or exists (select from aclexplode(n.nspacl) as a where a.privilege_type = 'CREATE' and a.grantee <> n.nspowner)))
   or exists (
     select from pg_namespace as n
     join (select c.relnamespace as namespace, c.relowner as owner from pg_class as c
           union all select p.pronamespace, p.proowner from pg_proc as p) as o on o.namespace = n.oid
     where n.nspname = 'alpha_db_guard' and not (select r.rolsuper from pg_roles as r where r.oid = o.owner)) then
  raise exception 'alpha-db: schema alpha_db_guard is not a superuser''s alone'
    using errcode = '42501', hint = 'Look at what is in it, then: drop schema alpha_db_guard cascade';
end if;

set local client_min_messages = warning;
execute format('drop event trigger if exists %I', 'alpha_ddl_guard_end_' || desk);
execute format('drop event trigger if exists %I', 'alpha_ddl_guard_drop_' || desk);
execute format('drop function if exists alpha_db_guard.%I()', 'ddl_guard_' || desk);
if to_regnamespace('alpha_db_guard') is null then
  create schema alpha_db_guard;
end if;
if to_regclass('alpha_db_guard.desks') is null then
create table alpha_db_guard.desks (
  home   text  not null,
  owner  text  not null,
  constraint desks_pkey primary key (home)
);
create table alpha_db_guard.protected_names (
  home  text  not null,
  name  text  not null,
  constraint protected_names_pkey primary key (home, name)
);
end if;
comment on schema alpha_db_guard is 'The DDL guards of alpha-db, for each schema it is installed in. Belongs to a superuser.';
comment on table  alpha_db_guard.desks                is 'The schemas that are guarded.';
comment on column alpha_db_guard.desks.home           is 'The schema.';
comment on column alpha_db_guard.desks.owner          is 'The role that owns its objects.';
comment on table  alpha_db_guard.protected_names      is 'Names of the relations, indexes, types and functions that are protected.';
comment on column alpha_db_guard.protected_names.home is 'The schema.';
comment on column alpha_db_guard.protected_names.name is 'The name.';


insert into alpha_db_guard.desks (home, owner) values (desk, owner_name)
on conflict on constraint desks_pkey do update set owner = excluded.owner;
delete from alpha_db_guard.protected_names as n where n.home = desk;
insert into alpha_db_guard.protected_names (home, name)
select desk, o.name
from (select c.relname::text as name from pg_class as c where c.relnamespace = quote_ident(desk)::regnamespace and c.relowner = quote_ident(owner_name)::regrole
      union select p.proname::text from pg_proc as p where p.pronamespace = quote_ident(desk)::regnamespace and p.proowner = quote_ident(owner_name)::regrole
      union select t.typname::text from pg_type as t where t.typnamespace = quote_ident(desk)::regnamespace and t.typowner = quote_ident(owner_name)::regrole) as o;

-- In one piece: the guards of other schemas call it all the while.
create or replace function alpha_db_guard.check_command(home text, event text, tag text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
  reason       text := btrim(coalesce(current_setting('alpha.maintenance', true), ''));
  home_oid     oid := to_regnamespace(quote_ident(home));
  owner_oid    oid := (select r.oid from pg_roles as r join alpha_db_guard.desks as d on d.owner = r.rolname where d.home = check_command.home);
  command      record;
  number       bigint;
begin
  for command in
    -- what was altered or made: the object, or the relation that it hangs on
    select coalesce(c.command_tag, tag) as tag, c.object_identity as identity, o.name
    from (select * from pg_event_trigger_ddl_commands() where event = 'ddl_command_end') as c
    cross join lateral (
      select r.relnamespace as namespace, r.relname::text as name, r.relowner as owner from pg_class as r
      where r.oid = case c.classid
        when 'pg_class'::regclass      then coalesce((select x.indrelid from pg_index as x where x.indexrelid = c.objid), c.objid)
        when 'pg_trigger'::regclass    then (select t.tgrelid from pg_trigger as t where t.oid = c.objid)
        when 'pg_rewrite'::regclass    then (select w.ev_class from pg_rewrite as w where w.oid = c.objid)
        when 'pg_policy'::regclass     then (select p.polrelid from pg_policy as p where p.oid = c.objid)
        when 'pg_statistic_ext'::regclass then (select s.stxrelid from pg_statistic_ext as s where s.oid = c.objid)
        when 'pg_constraint'::regclass then (select k.conrelid from pg_constraint as k where k.oid = c.objid) end
      union all
      -- what is done to a parent is done to its children: one that takes a table of ours as a partition
      select r.relnamespace, r.relname::text, r.relowner from pg_inherits as i join pg_class as r on r.oid = i.inhrelid
      where i.inhparent = case c.classid
        when 'pg_class'::regclass      then c.objid
        when 'pg_trigger'::regclass    then (select t.tgrelid from pg_trigger as t where t.oid = c.objid)
        when 'pg_constraint'::regclass then (select k.conrelid from pg_constraint as k where k.oid = c.objid) end
      union all
      select p.pronamespace, p.proname::text, p.proowner from pg_proc as p where c.classid = 'pg_proc'::regclass and p.oid = c.objid
      union all
      select t.typnamespace, t.typname::text, t.typowner from pg_type as t
      where t.oid = case c.classid
        when 'pg_type'::regclass       then c.objid
        when 'pg_constraint'::regclass then (select k.contypid from pg_constraint as k where k.oid = c.objid) end
      union all
      select n.oid, null, n.nspowner from pg_namespace as n where c.classid = 'pg_namespace'::regclass and n.oid = c.objid
    ) as o
    where o.namespace = home_oid
          and (o.name is null or o.owner = owner_oid
               or exists (select from alpha_db_guard.protected_names as g where g.home = check_command.home and g.name = o.name))
       -- SET SCHEMA took it away: ours is gone from where it was
       or o.namespace <> coalesce(home_oid, 0) and o.owner = owner_oid
          and exists (select from alpha_db_guard.protected_names as g where g.home = check_command.home and g.name = o.name)
          and not exists (select from pg_class as r where r.relnamespace = home_oid and r.relname = o.name
                          union all select from pg_proc as p where p.pronamespace = home_oid and p.proname = o.name
                          union all select from pg_type as t where t.typnamespace = home_oid and t.typname = o.name)
       -- the schema itself was renamed
       or home_oid is null and c.classid = 'pg_namespace'::regclass
    union all
    -- what was dropped: here, or on a relation of ours
    select tag, d.object_identity, d.object_name
    from (select * from pg_event_trigger_dropped_objects() where event = 'sql_drop') as d
    where not d.is_temporary
      and not (d.object_type = 'trigger' and d.address_names[3] ~ '^RI_ConstraintTrigger_')  -- of somebody's foreign key to ours
      and ((d.schema_name = home or d.address_names[1] = home)
           and exists (select from alpha_db_guard.protected_names as g
                       where g.home = check_command.home and g.name in (d.object_name, d.address_names[2]))
           or d.object_type = 'schema' and d.object_name = home)
  loop
    if reason = '' or home_oid is null then
      begin
        number := nextval(format('%I.%I', home, 'attempts_aud011_ddl_protected object')::regclass);
      exception when others then null;  -- it went with the command; the refusal counts more than the count
      end;
      raise log 'alpha-db attempt %', jsonb_build_object(
        'code', 'AUD-011', 'schema', home, 'table', command.identity, 'operation', 'DDL', 'row_id', null, 'number', number,
        'session_user', session_user, 'current_user', coalesce(nullif(current_setting('role'), 'none'), session_user),
        'client_address', host(inet_client_addr()), 'application', current_setting('application_name'));
      raise exception 'AUD-011: % on % refused', command.tag, command.identity
        using errcode = 'AUD11', detail = format('%s is protected by alpha-db.', command.identity), schema = home,
              hint = 'If it must be: begin; set local alpha.maintenance = ''the reason''; … commit. The use is recorded in maintenance_events.';
    end if;
    begin
      -- Called only if it switches to its owner and no cast, default or namesake could run before that.
      if (select count(*) from pg_proc as p where p.pronamespace = home_oid and p.proname = '_record_maintenance') <> 1
         or not exists (
           select from pg_proc as p
           where p.pronamespace = home_oid and p.proname = '_record_maintenance' and p.prosecdef and p.prokind = 'f'
             and p.proowner = owner_oid and not (select r.rolsuper from pg_roles as r where r.oid = p.proowner)
             and p.pronargdefaults = 0 and p.provariadic = 0 and not p.proretset and p.prorettype = 'void'::regtype
             and array_to_string(p.proargtypes::oid[]::regtype[]::text[], ',') = 'text,text,text') then
        raise exception '_record_maintenance was replaced';
      end if;
      execute format('select %I._record_maintenance($1, $2, $3)', home) using reason, command.tag, command.identity;
    exception when others then  -- what cannot be recorded is not let through
      raise exception 'AUD-011: % on % refused', command.tag, command.identity
        using errcode = 'AUD11', detail = format('Its use could not be recorded: %s', sqlerrm), schema = home,
              hint = 'To take alpha-db apart, take the DDL guard away first, with superuser/ddl_guard.rollback.sql.';
    end;
    if event = 'ddl_command_end' and command.name is not null then
      insert into alpha_db_guard.protected_names (home, name) values (check_command.home, command.name) on conflict do nothing;
    end if;
  end loop;
end
$function$;
comment on function alpha_db_guard.check_command(text, text, text) is
  'Refuses (AUD-011) a DDL command that touches what is protected in a schema, or has it recorded when alpha.maintenance gives a reason.';
revoke all on function alpha_db_guard.check_command(text, text, text) from public;

execute format($create$
create function alpha_db_guard.%1$I() returns event_trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
begin
  if tg_tag <> 'REINDEX' then  -- which changes nothing, and fires this only from PostgreSQL 17 on
    perform alpha_db_guard.check_command(%2$L, tg_event, tg_tag);
  end if;
end
$function$
$create$, 'ddl_guard_' || desk, desk);
execute format('comment on function alpha_db_guard.%I() is %L', 'ddl_guard_' || desk, format('Event trigger: the DDL guard of schema %s.', desk));
execute format('revoke all on function alpha_db_guard.%I() from public', 'ddl_guard_' || desk);
execute format('create event trigger %I on ddl_command_end execute function alpha_db_guard.%I()', 'alpha_ddl_guard_end_' || desk, 'ddl_guard_' || desk);
execute format('create event trigger %I on sql_drop execute function alpha_db_guard.%I()', 'alpha_ddl_guard_drop_' || desk, 'ddl_guard_' || desk);
-- ALWAYS: session_replication_role = replica must not switch it off.
execute format('alter event trigger %I enable always', 'alpha_ddl_guard_end_' || desk);
execute format('alter event trigger %I enable always', 'alpha_ddl_guard_drop_' || desk);
execute format('comment on event trigger %I is %L', 'alpha_ddl_guard_end_' || desk, 'Refuses changes of what alpha-db protects.');
execute format('comment on event trigger %I is %L', 'alpha_ddl_guard_drop_' || desk, 'Refuses drops of what alpha-db protects.');
perform set_config('search_path', previous_path, true);
end
$guard$;
