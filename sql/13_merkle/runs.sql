-- Runs: one row for each checkpoint, so that one signature covers every log
--
-- `alpha-db checkpoint create` seals, records a run, and signs size and root of one log: checkpoint_runs. A run names
-- the head of every other log. So the signed root covers all of them, and what it covers stands in a chain of its own.
--
-- The trigger below fills in a run, so nobody records one that says something else than the database, as long as the
-- trigger is on. Somebody who switches it off can write another row; but only the last run of a signed log counts
-- (docs/auditor-guide.md), and each run is compared with the logs before it is signed.

create table checkpoint_runs (
  id                 bigserial    not null,
  recorded_by        text         not null,
  installation_id    uuid         not null,
  server_version     text         not null,
  system_identifier  text         not null,
  timeline           integer      not null,
  wal_lsn            text         not null,
  guards_hash        char(64)     not null,
  heads              jsonb        not null,
  row_hash           char(64)     not null,
  created_at         timestamptz  not null,
  constraint checkpoint_runs_pkey primary key (id)
);
comment on table  checkpoint_runs                   is
  'What each checkpoint covers. Append-only and chained; a checkpoint signs the root of this table''s log.';
comment on column checkpoint_runs.id                is 'Position in the chain, and the size that the checkpoint signs.';
comment on column checkpoint_runs.recorded_by       is 'The login that recorded it.';
comment on column checkpoint_runs.installation_id   is 'The installation.';
comment on column checkpoint_runs.server_version    is 'The version of PostgreSQL, as server_version shows it.';
comment on column checkpoint_runs.system_identifier is 'The PostgreSQL cluster, as pg_control_system() shows it.';
comment on column checkpoint_runs.timeline          is 'The timeline of the write-ahead log.';
comment on column checkpoint_runs.wal_lsn           is
  'How far the write-ahead log was. The rows that the run covers stand before this position.';
comment on column checkpoint_runs.guards_hash       is 'SHA-256 of the guards, as in guard_states.state_hash.';
comment on column checkpoint_runs.heads             is
  'The head of every other log: {table: {size, root, row_hash}}. The root, in hex, is null if a row is missing; '
  'row_hash is that of the last row, null for an empty table.';
comment on column checkpoint_runs.row_hash          is 'SHA-256 of the previous row_hash and this row.';
comment on column checkpoint_runs.created_at        is 'When the run was recorded.';

create function _fill_checkpoint_run() returns trigger
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  said  constant jsonb := new.heads;
begin
  -- Before the heads are read: so a later run never names a smaller size. The chain trigger takes the same lock.
  lock table only lock_checkpoint_runs in share update exclusive mode;
  select f.installation_id, current_setting('server_version'), f.system_identifier, f.timeline, f.wal_lsn::text,
         f.guards_hash,
         jsonb_object_agg(f.table_name, jsonb_build_object('size', f.size, 'root', encode(f.root, 'hex'),
                                                           'row_hash', f.head_hash))
  into new.installation_id, new.server_version, new.system_identifier, new.timeline, new.wal_lsn, new.guards_hash,
       new.heads
  from checkpoint_facts() as f
  where f.table_name <> tg_table_name
  group by f.installation_id, f.system_identifier, f.timeline, f.wal_lsn, f.guards_hash;
  if said <> new.heads then
    perform _refuse('AUD-011', 'a run was refused, because the logs are not so',
                    format('%s tried to insert it.', session_user),
                    'Record the logs as they are with select record_checkpoint_run().', tg_argv[0], tg_op);
  end if;
  return new;
end
$function$;
comment on function _fill_checkpoint_run is
  'Row trigger of checkpoint_runs: records the head of every other log as it is now, and refuses (AUD-011) a row that '
  'names others. Argument: table.';

select _chain_attach('checkpoint_runs'), _protect_table('checkpoint_runs', 'AUD-011', 'AUD-011'),
       _owner_only('checkpoint_runs', 'AUD-011');

create trigger _500_validate before insert on checkpoint_runs
for each row execute function _fill_checkpoint_run('checkpoint_runs');
comment on trigger _500_validate on checkpoint_runs is
  'Fills in the head of every other log, and refuses a row that names others (AUD-011).';

create function record_checkpoint_run() returns checkpoint_runs
language sql security definer
set search_path from current
set row_security = off
as $function$
  insert into checkpoint_runs default values returning *;
$function$;
comment on function record_checkpoint_run is
  'Records where every log stands, in one snapshot, and returns the row. Its id is the size that a checkpoint signs, '
  'with log_root(''checkpoint_runs'', id). Raises AUD-009 if a chained table is gone, 40001 in REPEATABLE READ if '
  'another run was recorded since the snapshot, and what PostgreSQL raises if a table cannot be read.';

select _grant('select on', '{checkpoint_runs}', '{app_auditor}');
select _grant('execute on routine', '{record_checkpoint_run}', '{app_auditor}');
