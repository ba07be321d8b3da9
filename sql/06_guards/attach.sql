-- The end of the first migration: what every migration leaves to others, and the triggers of our own tables.

-- PUBLIC gets nothing: the last statement of each migration calls this.
create function _revoke_from_public() returns void
language plpgsql
set search_path from current
set random_page_cost = 0.2
as $function$
declare
  home   constant oid := quote_ident(current_schema())::regnamespace;
  owner  constant oid := quote_ident(_owner_role())::regrole;
  item   record;
begin
  -- One statement for each kind: after each REVOKE, PostgreSQL forgets which functions of all schemas have which name.
  for item in
    select o.kind, string_agg(format('%I.%s', current_schema(), o.name), ', ') as names
    from (
      select case p.prokind when 'p' then 'procedure' else 'function' end,
             format('%I(%s)', p.proname, pg_get_function_identity_arguments(p.oid)),
             coalesce(p.proacl, acldefault('f', p.proowner))
      from _guard_objects('pg_proc') as d
      join pg_proc as p on p.oid = d.oid
      where p.pronamespace = home and p.proowner = owner
      union all
      select 'type', quote_ident(t.typname), coalesce(t.typacl, acldefault('T', t.typowner))
      from _guard_objects('pg_type') as d
      join pg_type as t on t.oid = d.oid
      where t.typnamespace = home and t.typowner = owner
        -- not the row types of tables, because a dump does not carry their rights
        and t.typcategory <> 'A' and (t.typtype in ('d', 'e', 'r')
                                      or (select c.relkind from pg_class as c where c.oid = t.typrelid) = 'c')
    ) as o(kind, name, acl)
    where exists (select from aclexplode(o.acl) as a where a.grantee = 0)
    group by o.kind
  loop
    execute format('revoke all on %s %s from public', item.kind, item.names);
  end loop;
end
$function$;
comment on function _revoke_from_public is
  'Takes from PUBLIC what CREATE FUNCTION, CREATE DOMAIN and CREATE TYPE give it by default, on all objects of the '
  'owner role in this schema.';

-- What somebody else adds to each new object, as an event trigger of the provider's or by default privileges for the
-- owner role: row-level security, and rights. Recorded as guards these would look meant, and no application could
-- write. So a migration takes them back from what it has made. What is older is as last recorded, or the migration
-- would not have begun.
create function _additions()
returns table (addition text, kind text, name text, grantee text)
language sql stable
set search_path from current
as $function$
  with
  home as (
    select n.oid, (quote_ident(_owner_role())::regrole)::oid as owner from pg_namespace as n
    where n.nspname = current_schema()),
  recorded as materialized (
    select f.value ->> 1 as kind, f.value ->> 2 as name
    from (select g.facts from only guard_states as g order by g.id desc limit 1) as g
    cross join lateral jsonb_array_elements(g.facts) as f
    where (f.value ->> 1, f.value ->> 3) in (('relation', 'owner'), ('function', 'body'))),
  relations as materialized (
    select c.* from home join pg_class as c on c.relnamespace = home.oid and c.relowner = home.owner
    where c.relkind in ('r', 'p', 'v', 'S')
      and c.relname::text not in (select r.name from recorded as r where r.kind = 'relation')),
  rights as (
    select 'table' as kind, quote_ident(c.relname) as name, g.grantee
    from relations as c cross join lateral _grants_text(c.relacl, c.relowner) as g
    union
    -- Revoked from a table, a right is revoked from its columns, too.
    select 'table', quote_ident(c.relname), g.grantee
    from relations as c join pg_attribute as a on a.attrelid = c.oid
    cross join lateral _grants_text(a.attacl, c.relowner) as g
    union all
    select 'routine', p.oid::regprocedure::text, g.grantee
    from home join pg_proc as p on p.pronamespace = home.oid and p.proowner = home.owner
    cross join lateral _grants_text(p.proacl, p.proowner) as g
    where p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')'
          not in (select r.name from recorded as r where r.kind = 'function'))
  select 'row-level security', 'table', quote_ident(c.relname), null
  from relations as c where c.relrowsecurity or c.relforcerowsecurity
  union all
  select 'rights of ' || r.grantee, r.kind, r.name,
         case when r.grantee = 'PUBLIC' then 'public' else quote_ident(r.grantee) end
  from rights as r
  where r.grantee not in (_app_role('app_trading'), _app_role('app_auditor'), _app_role('app_risk'));
$function$;
comment on function _additions is
  'What somebody else added to objects that no recorded state of the guards knows yet: row-level security, or the '
  'rights of a grantee.';

-- What default privileges add for our own roles cannot be told from what a migration grants them.
create function _refuse_default_rights() returns void
language plpgsql
set search_path from current
as $function$
declare
  item  record;
begin
  select g.grantee, case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions'
                                         else 'types' end as kind,
         case when d.defaclnamespace <> 0 then format(' in schema %I', current_schema()) else '' end as place
  into item
  from pg_default_acl as d
  cross join lateral _grants_text(d.defaclacl, d.defaclrole) as g
  where d.defaclrole = quote_ident(_owner_role())::regrole and d.defaclobjtype in ('r', 'S', 'f', 'T')
    and d.defaclnamespace in (0, quote_ident(current_schema())::regnamespace)
    and g.grantee in (_app_role('app_trading'), _app_role('app_auditor'), _app_role('app_risk'));
  if found then
    raise exception 'alpha-db: by default privileges % has rights on all % that % makes',
      item.grantee, item.kind, _owner_role()
      using errcode = '55000',
            hint = format('alter default privileges for role %I%s revoke all on %s from %I', _owner_role(), item.place,
                          item.kind, item.grantee);
  end if;
end
$function$;
comment on function _refuse_default_rights is
  'Raises 55000 if default privileges of the owner role give our own roles more than the migrations do.';

create function _take_back_additions() returns void
language plpgsql
set search_path from current
as $function$
declare
  item   record;
  taken  text[] := '{}';
begin
  perform _refuse_default_rights();
  -- Nothing else adds anything, and most servers have neither.
  if not exists (select from pg_event_trigger as e where e.evtname !~ '^alpha_ddl_guard_')
     and not exists (select from pg_default_acl as d where d.defaclrole = quote_ident(_owner_role())::regrole) then
    return;
  end if;
  for item in select a.* from _additions() as a loop
    if item.grantee is null then
      execute format('alter table %s disable row level security, no force row level security', item.name);
    else
      execute format('revoke all on %s %s from %s cascade', item.kind, item.name, item.grantee);
    end if;
    taken := taken || item.addition;
  end loop;
  if taken = '{}' then
    return;
  end if;
  raise notice 'taken back from new objects: %. An event trigger or default privileges had added it.',
    (select string_agg(format('%s (%s)', t.addition, t.times), ', ' order by t.addition)
     from (select u.addition, count(*) as times from unnest(taken) as u(addition) group by 1) as t);
  for item in select a.addition from _additions() as a loop
    raise exception 'alpha-db: % was taken back from new objects, and is there again', item.addition
      using errcode = '55000',
            hint = 'An event trigger adds it at once. Disable that while you migrate, or install into a schema that it '
                   'leaves alone: select evtname from pg_event_trigger.';
  end loop;
end
$function$;
comment on function _take_back_additions is
  'Takes back what somebody else added to the objects that a migration has made, with a NOTICE. Raises 55000 if it is '
  'there again at once.';

-- Our own tables become append-only and chained like the log; here, because only now all functions exist that
-- their triggers call.

select _chain_attach('chain_columns');
select _chain_attach('guard_states');
select _chain_attach('verification_runs');
select _protect_table('chain_columns', 'AUD-011', 'AUD-011');
select _protect_table('guard_states', 'AUD-011', 'AUD-011');
select _protect_table('verification_runs', 'AUD-011', 'AUD-011');
select _protect_table('installation', 'AUD-011', 'AUD-011');
select _protect_table('chain_starts', 'AUD-011', 'AUD-011');
select _owner_only(t.name, 'AUD-011')
from unnest(array['chain_columns', 'chain_starts', 'guard_states', 'verification_runs', 'installation']) as t(name);
select _protect_register(t.name) from unnest(array['installed_migrations', 'attempt_counters', 'chains']) as t(name);

create trigger _500_validate before insert on chain_columns
for each row execute function _check_chain_columns('chain_columns');
create trigger _500_validate before insert on verification_runs
for each row execute function _check_verification_run('verification_runs');
create trigger _500_validate before insert on guard_states
for each row execute function _check_guard_state('guard_states');
create trigger _500_sign before insert on installed_migrations
for each row execute function _sign_migration();
comment on trigger _500_validate on chain_columns is
  'Refuses an entry that is not what the table looks like (AUD-011).';
comment on trigger _500_validate on verification_runs is
  'Refuses heads that are not there (AUD-011).';
comment on trigger _500_validate on guard_states is
  'Records the guards as they are, and refuses a row that says otherwise (AUD-011).';
comment on trigger _500_sign on installed_migrations is
  'Sets who applied the migration, and when.';
