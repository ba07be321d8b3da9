-- The register of this installation
--
-- installation says who this installation is, and what its roles are called; installed_migrations what was applied to
-- it, when and by whom. Only migrations and rollbacks write them (06_guards/attach.sql attaches the triggers). Several
-- installations of one cluster may have roles of their own: alpha.role_prefix, set when the first migration is applied,
-- stands before each name. So all others ask _owner_role() and _app_role() for the names.

-- Locks. They are tables, because anyone could hold an advisory lock, and LOCK TABLE in this mode needs a right to
-- change the table.

create table lock_migrations ();
comment on table lock_migrations is
  'Empty. A migration or a rollback holds its SHARE UPDATE EXCLUSIVE lock until its transaction ends.';
create table lock_migrate_sessions ();
comment on table lock_migrate_sessions is
  'Empty. "alpha-db migrate" holds its SHARE UPDATE EXCLUSIVE lock as long as it runs: through several '
  'migrations, and their marks for yoyo.';

create table installation (
  singleton        boolean      not null  default true,
  installation_id  uuid         not null  default gen_random_uuid(),
  role_prefix      text         not null,
  installed_at     timestamptz  not null  default clock_timestamp(),
  constraint installation_pkey primary key (singleton),
  constraint installation_is_one_row check (singleton)
);
comment on table  installation                 is 'One row: the identity of this installation.';
comment on column installation.singleton       is 'Always true; keeps the table at one row.';
comment on column installation.installation_id is
  'Identity of this installation, signed into checkpoints and proposals.';
comment on column installation.role_prefix is
  'What stands before the names of alpha_owner, app_trading, app_auditor and app_risk.';
comment on column installation.installed_at    is 'When 001_core_functions was applied.';
insert into installation (role_prefix) values (coalesce(current_setting('alpha.role_prefix', true), ''));

create table installed_migrations (
  name            text         not null,
  checksum        char(64)     null,
  applied_at      timestamptz  not null,
  applied_by      text         not null,
  server_version  text         not null,
  constraint installed_migrations_pkey primary key (name)
);
comment on table installed_migrations is
  'The migrations that are installed, each recorded in its own transaction.';
comment on column installed_migrations.name           is 'File name without .sql.';
comment on column installed_migrations.checksum is
  'SHA-256 of the migration''s text from the first "do $migration" to the last tag; null if it could not be seen.';
comment on column installed_migrations.applied_at     is 'When the migration ran.';
comment on column installed_migrations.applied_by     is 'The login that ran it.';
comment on column installed_migrations.server_version is 'PostgreSQL version it ran on.';

create function _running_migration_checksum() returns text
language sql volatile
set search_path from current
set standard_conforming_strings = on
as $function$
  -- current_query() is the text that psql, yoyo or a driver sent, so every way of applying records the same.
  select encode(sha256(convert_to(
           substring(current_query() from '(do [$]migration[$].*[$]migration[$])'), 'UTF8')), 'hex');
$function$;
comment on function _running_migration_checksum is
  'SHA-256 of the migration that is running, in hex; null outside a migration.';

create function _owner_role() returns text
language sql stable
set search_path from current
as $function$
  select i.role_prefix || 'alpha_owner' from only installation as i;
$function$;
comment on function _owner_role is 'Name of the role that owns every object of this installation.';

create function _app_role(name text) returns text
language sql stable
set search_path from current
as $function$
  select i.role_prefix || _app_role.name from only installation as i;
$function$;
comment on function _app_role is
  'Name of an application role of this installation: its prefix and app_trading, app_auditor or app_risk.';

-- Only for the text of migrations: privilege is SQL as it stands. A routine is named without its arguments, so it must
-- not be overloaded.
create function _grant(privilege text, objects text[], roles text[]) returns void
language plpgsql
set search_path from current
as $function$
begin
  execute format('grant %s %s to %s', privilege,
                 (select string_agg(quote_ident(o.name), ', ') from unnest(objects) as o(name)),
                 (select string_agg(quote_ident(_app_role(r.name)), ', ') from unnest(roles) as r(name)));
end
$function$;
comment on function _grant is
  'Grants a privilege, such as "select on" or "execute on routine", on objects of this schema to application roles.';
