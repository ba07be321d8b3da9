-- Optional, as superuser, after the migrations: an event trigger that refuses DDL on protected objects (AUD-011).
--   psql -X -1 -v ON_ERROR_STOP=1 -f superuser/ddl_guard.sql         (search_path as for the migrations)
-- Applying it again replaces it. superuser/ddl_guard.rollback.sql takes it away.
-- The function belongs to the superuser who runs this: nobody below may change what it does.

do $guard$
declare
  home           text := pg_catalog.current_schema();
  previous_path  text := pg_catalog.current_setting('search_path');
begin
-- First of all: until this is set, a function or an operator of somebody else could stand in front of PostgreSQL's own.
perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
perform pg_advisory_xact_lock(hashtextextended('alpha-db/migrate', 0));
if not (select r.rolsuper from pg_roles as r where r.rolname = current_user) then
  raise exception 'alpha-db: an event trigger needs a superuser, and % is none', current_user
    using errcode = '42501', hint = 'The kit works without this step; verify_guards() reports afterwards what the DDL guard would refuse.';
end if;
if to_regclass(format('%I.guard_states', home)) is null
   or to_regprocedure(format('%I.guarded_names()', home)) is null then
  raise exception 'alpha-db is not installed in schema %', coalesce(home, '(none)')
    using errcode = '55000', hint = 'Apply migrations 001 to 004 first, with the same search_path.';
end if;

set local client_min_messages = warning;
execute format('drop event trigger if exists %I', 'alpha_ddl_guard_end_' || home);
execute format('drop event trigger if exists %I', 'alpha_ddl_guard_drop_' || home);
-- A schema of its own: dropping the protected schema must not take the guard along before it can refuse.
create schema if not exists alpha_db_guard;
-- alpha_owner's code must not run with a superuser's rights: its record_guards is only called if it switches to its owner
-- and no cast, default or namesake could run in between. (SET ROLE would be no boundary: what runs could RESET it.)
create or replace function alpha_db_guard.record_guards(home text, reason text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
begin
  if (select count(*) from pg_proc as p where p.pronamespace = quote_ident(home)::regnamespace and p.proname = 'record_guards') <> 1
     or not exists (
       select from pg_proc as p join pg_class as c on c.relnamespace = p.pronamespace and c.relname = 'guard_states' and c.relowner = p.proowner
       join pg_roles as r on r.oid = p.proowner and not r.rolsuper
       where p.pronamespace = quote_ident(home)::regnamespace and p.proname = 'record_guards' and p.prosecdef and p.prokind = 'f'
         and p.pronargdefaults = 0 and p.provariadic = 0 and not p.proretset
         and p.proargtypes::text = 'text'::regtype::oid::text and p.prorettype = 'int8'::regtype) then
    raise exception 'AUD-011: the guards of schema % are not recorded, for record_guards was replaced', home
      using errcode = 'AUD11', hint = 'select * from verify_guards(), as somebody who is no superuser.';
  end if;
  execute format('select %I.record_guards($1)', home) using reason;
end
$function$;
comment on function alpha_db_guard.record_guards(text, text) is 'Records the guards of a schema after a superuser''s step.';
revoke all on function alpha_db_guard.record_guards(text, text) from public;
execute format($create$
create or replace function alpha_db_guard.%3$I() returns event_trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
  reason   text := btrim(coalesce(current_setting('alpha.maintenance', true), ''));
  home     regnamespace;
  guard_owner  oid;
  guarded  jsonb;
  command  record;
begin
  if tg_tag = 'REINDEX' then
    return;  -- changes nothing, and fires this only from PostgreSQL 17 on
  end if;
  if to_regclass('%1$I.guard_states') is null then
    if tg_event = 'sql_drop' and exists (
         select from pg_event_trigger_dropped_objects() as d where d.address_names = array[%2$L, 'guard_states']) then
      raise exception 'AUD-011: %% on schema %% refused', tg_tag, %2$L
        using errcode = 'AUD11', detail = 'It would drop the guards of alpha-db.',
              hint = 'Take the DDL guard away first, with superuser/ddl_guard.rollback.sql.';
    end if;
    -- Renamed or moved away by this very command: the schema, or the table by which the rest is found.
    if tg_event = 'ddl_command_end' and tg_tag ~ '^ALTER' and exists (
         select from pg_event_trigger_ddl_commands() as c
         join pg_class as r on r.oid = c.objid or r.relnamespace = c.objid
         where r.relname = 'guard_states' or c.schema_name = %2$L) then
      raise exception 'AUD-011: %% refused, for it would take the guards of schema %% away', tg_tag, %2$L
        using errcode = 'AUD11', detail = 'The functions of alpha-db look for their tables in the schema that they were installed into.',
              hint = 'Renaming or moving them is not supported.';
    end if;
    return;  -- nothing left to guard
  end if;
  home := quote_ident(%2$L)::regnamespace;
  select c.relowner into guard_owner from pg_class as c where c.oid = to_regclass('%1$I.guard_states');
  -- This runs as a superuser, so it touches nothing of alpha_owner's but three functions that switch to their owner; and
  -- these only if no cast, default or namesake could run in between.
  if (select r.rolsuper from pg_roles as r where r.oid = guard_owner)
     or (select count(*) from pg_proc as p where p.pronamespace = home and p.proname in ('guarded_names', 'refuse_ddl', 'record_maintenance')) <> 3
     or (select count(*) from pg_proc as p
         where p.pronamespace = home and p.prosecdef and p.prokind = 'f' and p.proowner = guard_owner
           and p.pronargdefaults = 0 and p.provariadic = 0 and not p.proretset
           and (p.proname, array_to_string(p.proargtypes::oid[]::regtype[]::text[], ','), p.prorettype::regtype::text) in
               (('guarded_names', '', 'jsonb'), ('refuse_ddl', 'text,text', 'void'), ('record_maintenance', 'text,text,text', 'void'))) <> 3 then
    raise exception 'AUD-011: %% refused, for the guards themselves were replaced', tg_tag
      using errcode = 'AUD11', hint = 'select * from verify_guards() says how; superuser/ddl_guard.rollback.sql takes the DDL guard away.';
  end if;
  -- Names as they were installed: a command may have changed the owner or the schema of the object already.
  guarded := %1$I.guarded_names();

  for command in
    select coalesce(c.command_tag, tg_tag) as tag, c.object_identity as identity
    from (select * from pg_event_trigger_ddl_commands() where tg_event = 'ddl_command_end') as c
    where c.classid = 'pg_namespace'::regclass and c.objid = home
       or exists (
         select from (
           select r.relnamespace as namespace, r.relname as name, r.relowner as owner from pg_class as r
           where r.oid = case c.classid
             when 'pg_class'::regclass      then coalesce((select x.indrelid from pg_index as x where x.indexrelid = c.objid), c.objid)
             when 'pg_trigger'::regclass    then (select t.tgrelid from pg_trigger as t where t.oid = c.objid)
             when 'pg_rewrite'::regclass    then (select w.ev_class from pg_rewrite as w where w.oid = c.objid)
             when 'pg_policy'::regclass     then (select p.polrelid from pg_policy as p where p.oid = c.objid)
             when 'pg_constraint'::regclass then (select k.conrelid from pg_constraint as k where k.oid = c.objid) end
           union all
           select p.pronamespace, p.proname, p.proowner from pg_proc as p
           where c.classid = 'pg_proc'::regclass and p.oid = c.objid
           union all
           select t.typnamespace, t.typname, t.typowner from pg_type as t
           where t.oid = case c.classid
             when 'pg_type'::regclass       then c.objid
             when 'pg_constraint'::regclass then (select k.contypid from pg_constraint as k where k.oid = c.objid) end
         ) as o
         where o.namespace = home and (guarded ? o.name::text or o.owner = guard_owner)
            or o.namespace <> home and o.owner = guard_owner and guarded ? o.name::text and not exists (  -- SET SCHEMA took it away
                 select from pg_class as r where r.relnamespace = home and r.relname = o.name
                 union all select from pg_proc as p where p.pronamespace = home and p.proname = o.name
                 union all select from pg_type as t where t.typnamespace = home and t.typname = o.name))
    union all
    select tg_tag, d.object_identity
    from (select * from pg_event_trigger_dropped_objects() where tg_event = 'sql_drop') as d
    where (d.schema_name = %2$L or d.address_names[1] = %2$L)
      and (guarded ? coalesce(d.object_name, '') or guarded ? coalesce(d.address_names[2], ''))
       or d.object_type = 'schema' and d.object_name = %2$L
  loop
    begin
      if reason = '' then
        perform %1$I.refuse_ddl(command.tag, command.identity);
      else
        perform %1$I.record_maintenance(reason, command.tag, command.identity);
      end if;
    exception
      when sqlstate 'AUD11' then raise;
      when others then  -- what cannot be recorded is not let through
        raise exception 'AUD-011: %% on %% refused', command.tag, command.identity
          using errcode = 'AUD11', detail = sqlerrm,
                hint = 'To take alpha-db apart, take the DDL guard away first, with superuser/ddl_guard.rollback.sql.';
    end;
  end loop;
end
$function$
$create$, home, home, 'ddl_guard_' || home);
comment on schema alpha_db_guard is 'Functions of the DDL guards of alpha-db, one for each schema it is installed in. Belongs to a superuser.';
execute format('revoke all on function alpha_db_guard.%I() from public', 'ddl_guard_' || home);
execute format('comment on function alpha_db_guard.%I() is %L', 'ddl_guard_' || home,
               'Event trigger: refuses (AUD-011) DDL on protected objects, or records it when alpha.maintenance gives a reason.');
execute format('create event trigger %I on ddl_command_end execute function alpha_db_guard.%I()', 'alpha_ddl_guard_end_' || home, 'ddl_guard_' || home);
execute format('create event trigger %I on sql_drop execute function alpha_db_guard.%I()', 'alpha_ddl_guard_drop_' || home, 'ddl_guard_' || home);
-- ALWAYS: session_replication_role = replica must not switch it off.
execute format('alter event trigger %I enable always', 'alpha_ddl_guard_end_' || home);
execute format('alter event trigger %I enable always', 'alpha_ddl_guard_drop_' || home);
execute format('comment on event trigger %I is %L', 'alpha_ddl_guard_end_' || home, 'Refuses changes of what alpha-db protects.');
execute format('comment on event trigger %I is %L', 'alpha_ddl_guard_drop_' || home, 'Refuses drops of what alpha-db protects.');

perform alpha_db_guard.record_guards(home, 'superuser step ddl_guard');
perform set_config('search_path', previous_path, true);
end
$guard$;
