-- The kit's own tables, made append-only and chained like the log; here, because only now all functions are there that
-- their triggers call.

select _chain_attach('chain_columns');
select _chain_attach('guard_states');
select _chain_attach('verification_runs');
select _protect_table('chain_columns', 'AUD-011', 'AUD-011');
select _protect_table('guard_states', 'AUD-011', 'AUD-011');
select _protect_table('verification_runs', 'AUD-011', 'AUD-011');
select _protect_table('installation', 'AUD-011', 'AUD-011');
select _owner_only(t.name, 'AUD-011')
from unnest(array['chain_columns', 'guard_states', 'verification_runs', 'installation']) as t(name);
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
