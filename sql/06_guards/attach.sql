-- The end of the first migration: what every migration leaves to PUBLIC, and the triggers of our own tables.

-- PUBLIC gets nothing: the last statement of each migration calls this.
create function _revoke_from_public() returns void
language plpgsql
set search_path from current
as $function$
declare
  home   constant oid := quote_ident(current_schema())::regnamespace;
  owner  constant oid := quote_ident(_owner_role())::regrole;
  item   record;
begin
  for item in
    select p.oid::regprocedure::text as name, case p.prokind when 'p' then 'procedure' else 'function' end as kind
    from pg_proc as p
    cross join lateral _grants_text(coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner) as g
    where p.pronamespace = home and p.proowner = owner and g.grantee = 'PUBLIC'
    union all
    select format('%I', t.typname), 'type'
    from pg_type as t
    cross join lateral _grants_text(coalesce(t.typacl, acldefault('T', t.typowner)), t.typowner) as g
    where t.typnamespace = home and t.typowner = owner and g.grantee = 'PUBLIC'
      -- not the row types of tables, because a dump does not carry their rights
      and t.typcategory <> 'A' and (t.typtype in ('d', 'e', 'r')
                                    or (select c.relkind from pg_class as c where c.oid = t.typrelid) = 'c')
  loop
    execute format('revoke all on %s %s from public', item.kind, item.name);
  end loop;
end
$function$;
comment on function _revoke_from_public is
  'Takes from PUBLIC what CREATE FUNCTION, CREATE DOMAIN and CREATE TYPE give it by default, on all objects of the '
  'owner role in this schema.';

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
