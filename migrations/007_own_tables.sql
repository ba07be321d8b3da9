-- 007_own_tables: a log to live with for years: users' own tables under the chain, the history of tables that change, and
-- retention: old rows leave by consensus, into files that prove themselves.
-- Built from sql/ by bin/build; change it there.
-- depends: 006_checkpoints

-- The frame of every migration but the first: one DO block, so one transaction and one checksum however it is applied.
-- Somebody else's function could stand in front of PostgreSQL's own until search_path is set, so everything before that
-- is named with its schema. sql/01_install/migrations.sql explains the rest.

do $migration$
declare
  home  pg_catalog.text := pg_catalog.current_schema();
begin
perform pg_catalog.set_config('alpha.previous_search_path', pg_catalog.current_setting('search_path'), true),
        pg_catalog.set_config('quote_all_identifiers', 'off', true),
        pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
if not exists (select from pg_proc as p
               join pg_namespace as n on n.oid = p.pronamespace
               join pg_class as c on c.relnamespace = n.oid and c.relname = 'installed_migrations'
               join pg_roles as r on r.oid = p.proowner and r.oid = c.relowner
               where p.proname = '_begin_migration' and n.nspname = home
                 and r.rolname ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$') then
  raise exception 'alpha-db is not installed in schema %, which is first on search_path', home using errcode = '3F000';
end if;
perform set_config('search_path', concat(quote_ident(home), ', pg_temp'), true);
if not _begin_migration('007_own_tables') then return; end if;

-- sql/16_retention/policies.sql

-- Retention policies: how long the rows of a table are kept before they may be archived
--
-- A policy removes nothing. It says what retention_plan proposes and what growth() reports as overdue. Rows leave only
-- by an approved proposal (propose.sql).

create table retention_policies (
  table_name  text      not null,
  keep        interval  not null,
  constraint retention_policies_pkey primary key (table_name),
  constraint retention_policies_table_name_fkey foreign key (table_name) references chains (table_name),
  constraint retention_policies_keep_is_positive check (keep > interval '0')
);
comment on table  retention_policies            is
  'How long the rows of a chained table are kept before they may be archived. Removes nothing.';
comment on column retention_policies.table_name is 'The chained table.';
comment on column retention_policies.keep       is 'Rows that are older than this may be archived.';
perform _protect_register('retention_policies');
create function set_retention_policy(table_name text, keep interval) returns void
language plpgsql security definer  -- so that a superuser may call it
set search_path from current
as $function$
begin
  perform _chain_or_error(table_name);
  if keep is null then
    delete from only retention_policies as p where p.table_name = set_retention_policy.table_name;
    return;
  elsif keep <= interval '0' then
    raise exception 'rows are kept for a positive time, not for %', keep
      using errcode = '22023', hint = 'Give an interval such as ''7 years'', or null for no policy.';
  end if;
  insert into retention_policies as p (table_name, keep) values (set_retention_policy.table_name,
                                                                 set_retention_policy.keep)
  on conflict on constraint retention_policies_pkey do update set keep = excluded.keep;
end
$function$;
comment on function set_retention_policy is
  'Sets how long the rows of a chained table are kept before they may be archived; null takes the policy away. Only '
  'the owner may, with alpha.maintenance set. Raises 42P01 for no chained table, 22023 for no positive time.';
perform _grant('select on', '{retention_policies}', '{app_auditor}');

perform _finish_migration('007_own_tables');
end
$migration$;
