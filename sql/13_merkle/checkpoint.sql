-- Checkpoints: what is signed and kept elsewhere, and how the rows compare with it later
--
-- checkpoint_facts() gives where each log stands, in one snapshot. A run records it (runs.sql). A client signs the log
-- of runs, and keeps what it signed where the owner of this database cannot change it (docs/checkpoints.md).
-- verify_checkpoint() is given the size and root of one log, from a run whose signature the caller has checked, and
-- recomputes the root from the rows alone. A log that was cut, or rewritten with all its hashes, has another root.

create function guards_hash() returns text
language sql stable
set search_path from current
set row_security = off
set quote_all_identifiers = off
as $function$
  select encode(sha256(convert_to(_guard_facts_json()::text, 'UTF8')), 'hex');
$function$;
comment on function guards_hash is
  'SHA-256, in hex, of the guards as they are now: the state_hash that record_guards would record.';

create function wal_position()
returns table (timeline integer, wal_lsn pg_lsn)
language plpgsql stable
set search_path from current
as $function$
begin
  if pg_is_in_recovery() then
    wal_lsn := pg_last_wal_replay_lsn();
    timeline := greatest((select c.timeline_id from pg_control_checkpoint() as c),
                         (select r.min_recovery_end_timeline from pg_control_recovery() as r));
  else
    -- Where the next record goes: whatever this snapshot sees was written before.
    wal_lsn := pg_current_wal_insert_lsn();
    timeline := ('x' || left(pg_walfile_name(wal_lsn), 8))::bit(32)::integer;
  end if;
  return next;
end
$function$;
comment on function wal_position is 'Timeline and end of the write-ahead log; on a standby of what it has replayed.';

create function _log_root_if_any(table_name text, size bigint) returns bytea
language plpgsql stable
set search_path from current
as $function$
begin
  return log_root(table_name, size);
exception when sqlstate 'AUD09' then
  return null;
end
$function$;
comment on function _log_root_if_any is 'Root of a table''s log; null if it has none, because a row is missing.';

create function checkpoint_facts()
returns table (origin text, table_name text, size bigint, root bytea, head_hash text, installation_id uuid,
               guards_hash text, system_identifier text, timeline integer, wal_lsn pg_lsn, taken_at timestamptz)
language sql stable
set search_path from current
set row_security = off
as $function$
  -- One statement, one snapshot: what it returns belongs together.
  with
  place as materialized (
    select i.installation_id, guards_hash() as guards_hash, w.timeline, w.wal_lsn,
           (select p.system_identifier::text from pg_control_system() as p) as system_identifier
    from only installation as i cross join wal_position() as w
  )
  select format('alpha-db/%s/%s', p.installation_id, s.table_name), s.table_name, s.last_id,
         _log_root_if_any(s.table_name, s.last_id), s.head_hash, p.installation_id, p.guards_hash,
         p.system_identifier, p.timeline, p.wal_lsn, statement_timestamp()
  from place as p
  cross join _known_heads() as s
  order by s.position;
$function$;
comment on function checkpoint_facts is
  'Where every log stands, a row for each in the order of chains.position, of one snapshot: origin, size, root '
  '(null if a row is missing) and head of the log, identity, guards, place in the write-ahead log, time. Raises '
  'AUD-009 if a chained table is gone, and what PostgreSQL raises if one cannot be read. Changes nothing.';

create function _acknowledged_if_released(result chain_verdict) returns chain_verdict
language plpgsql
set search_path from current
set row_security = off
as $function$
begin
  -- Of this very root: a tail can be cut to the same place twice, and a release of a false root says nothing of the
  -- true one.
  if exists (select from acknowledged_damage() as a
             where a.table_name = result.table_name and a.id = result.broken_id::text and a.verdict = result.verdict
               and a.actual_hash is not distinct from result.actual_hash
               and (a.verdict = 'missing_rows' or a.expected_hash is not distinct from result.expected_hash)) then
    return _with_verdict(result, 'acknowledged',
                         format('%s: %s; acknowledged by a lockdown release', result.verdict, result.detail));
  end if;
  return result;
end
$function$;
comment on function _acknowledged_if_released is
  'The verdict acknowledged in place of damage that an applied lockdown release lists.';

create function _compare_checkpoint(table_name text, size bigint, root bytea) returns chain_verdict
language plpgsql
set search_path from current
set row_security = off
as $function$
declare
  missing     text := _missing_part(table_name);
  result      chain_verdict := _verdict(table_name, 'intact', format('%s rows, as the checkpoint says', size));
  start       record;
  next_id     bigint;
  root_there  bytea;
begin
  if missing is not null then
    return _verdict(table_name, 'table_missing', missing);
  end if;
  select s.* into start from _proven_start(table_name) as s;
  if size < start.id and size % 256 > 0 then
    return _verdict(table_name, 'archived', format(
      'rows 1 to %s archived by proposal %s; a checkpoint of %s rows can be compared with their segment only',
      start.id, start.proposal_id, size));
  end if;
  -- Rows that were removed without an approval are missing, whatever chain_starts says.
  result.rows_checked := case when (_chain_start(table_name)).id = start.id then _log_unbroken_to(table_name, size)
                              else 0 end;
  result.first_id := case when result.rows_checked > start.id then start.id + 1 end;
  result.last_id := case when result.rows_checked > start.id then result.rows_checked end;
  if result.rows_checked < size then
    execute format('select t.id, t.row_hash::text from only %I as t where t.id > $1 order by t.id limit 1',
                   _compare_checkpoint.table_name)
      into next_id, result.actual_hash using result.rows_checked;
    result.broken_id := result.rows_checked + 1;
    if next_id is null then
      result.expected_hash := encode(root, 'hex');
      result := _with_verdict(result, 'tail_missing',
        format('%s missing at the end: the checkpoint covers %s, %s there',
               case size - result.rows_checked when 1 then '1 row is'
                 else format('%s rows are', size - result.rows_checked) end, size,
               case result.rows_checked when 1 then '1 is' else format('%s are', result.rows_checked) end));
    else
      result := _with_verdict(result, 'missing_rows',
        case next_id - 1 when result.broken_id then format('row %s is missing', result.broken_id)
          else format('rows %s to %s are missing', result.broken_id, next_id - 1) end);
    end if;
  else
    begin
      root_there := recompute_log_root(table_name, size);
    exception when sqlstate 'AUD09' then null;  -- a forged hash that is not hex
    end;
    if root_there = root then
      return result;
    end if;
    result.broken_id := size;
    result.expected_hash := encode(root, 'hex');
    result.actual_hash := encode(root_there, 'hex');
    result := _with_verdict(result, 'checkpoint_mismatch',
      case size when 1 then 'row 1 is not the one that the checkpoint covers'
        else format('rows 1 to %s are not those that the checkpoint covers', size) end);
  end if;
  return _acknowledged_if_released(result);
end
$function$;
comment on function _compare_checkpoint is
  'Recomputes the log of a table as a checkpoint covers it, and gives the verdict. Changes nothing.';

create function verify_checkpoint(table_name text, size bigint, root bytea, engage_lockdown boolean default true)
returns chain_verdict
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  result chain_verdict;
begin
  perform _chain_or_error(table_name);
  if size is null or size < 0 or length(root) is distinct from 32 then
    raise exception 'not a checkpoint: size %, root of % bytes',
      coalesce(size::text, 'NULL'), coalesce(length(root)::text, 'NULL')
      using errcode = '22023', hint = 'Give a size of 0 or more, and a root of 32 bytes.';
  end if;
  begin
    result := _compare_checkpoint(table_name, size, root);
  exception when others then
    -- Not being able to check is neither "fine" nor "tampered".
    result := _verdict(table_name, 'not_run', sqlerrm || ' (' || sqlstate || ')');
  end;
  if result.error_code = 'AUD-009' then
    result.detail := result.detail || '; ' || _lockdown_over(jsonb_build_array(_damage_of(result)), engage_lockdown);
  end if;
  return result;
end
$function$;
comment on function verify_checkpoint is
  'Compares a table with the size and root of a checkpoint whose signature the caller has checked. Damage engages the '
  'lockdown unless engage_lockdown is false: a false root can thus only tighten.';

select _grant('select on', '{log_nodes}', '{app_auditor}');
-- The functions below the public ones run with the auditor's rights, too.
select _grant('execute on routine',
              '{seal_log, seal_logs, log_root, recompute_log_root, recompute_block_roots, inclusion_proof,
                consistency_proof, verify_inclusion, verify_consistency, find_log_damage, guards_hash,
                checkpoint_facts, verify_checkpoint, wal_position,
                _is_hashes, _check_log_size, _consistency_ranges, _log_subtree, _log_level, _log_stored_nodes,
                _log_root_if_any, _log_row_hash, _log_leaves, _refuse_leaves, _log_unbroken_to,
                _log_tail, _merkle_parents, _merkle_root, _merkle_path}', '{app_auditor}');
