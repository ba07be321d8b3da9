-- Removing the rows of approved segments
--
-- prune_archived() is a procedure, so that each batch is a transaction of its own: it may be killed and called again at
-- any moment. A batch is some blocks of 256 rows. In one transaction it
--
--   1. looks whether the rows may go: approved, right, not on hold, no lockdown, and nothing that stays refers to them;
--   2. completes the stored nodes over the approved rows, and compares their root with the approved one;
--   3. writes the new start into chain_starts, whose trigger looks at the approval again;
--   4. deletes the rows.
--
-- Nothing here takes the lock of a chain, so writers do not wait. Only who would refer to one of the rows does, and is
-- refused then. Prunings take turns.

create function _validate_chain_start() returns trigger
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  stored text;
begin
  perform _chain_or_error(new.table_name);
  execute format('select t.row_hash::text from only %I as t where t.id = $1', new.table_name)
    into stored using new.id;
  if new.id <= (_chain_start(new.table_name)).id or stored is distinct from new.row_hash::text
     or new.id >= _held_from(new.table_name)
     or not exists (select from only archived_segments as s
                    where s.table_name = new.table_name and s.through_id >= new.id) then
    perform _refuse(
      'AUD-011', format('a start of %s was refused, because its rows may not be removed', new.table_name),
      format('Row %s is not archived, is on hold, or has another hash.', new.id),
      'Remove archived rows by call prune_archived(…).', tg_argv[0], tg_op);
  end if;
  return new;
end
$function$;
comment on function _validate_chain_start is
  'Row trigger of chain_starts: refuses (AUD-011) a start before which not all rows are archived and free. Argument: '
  'table.';
create trigger _500_validate before insert on chain_starts
  for each row execute function _validate_chain_start('chain_starts');
comment on trigger _500_validate on chain_starts is
  'Refuses a start before which not all rows are archived (AUD-011).';

create function _next_to_prune(table_name text, after_id bigint, is_first boolean) returns archived_segments
language plpgsql
set search_path from current
set row_security = off
as $function$
declare
  segment archived_segments;
begin
  select * into segment from only archived_segments as s
  where s.table_name = _next_to_prune.table_name and s.through_id > after_id order by s.through_id limit 1;
  if not found then
    if after_id = 0 then
      perform _refuse_retention(
        format('no proposal to archive rows of %s was approved', table_name), 'Its rows stay.',
        'Propose it: alpha-db retention propose, then alpha-db risk approve.');
    end if;
    return null;
  end if;
  if (is_first or after_id < segment.first_id)
     and _archive_proposal(table_name, segment.through_id, segment.last_hash::text) is null then
    perform _refuse_retention(
      format('the approval of the segment to row %s of %s does not hold', segment.through_id, table_name),
      'Signatures, or the hash of its last row, are not what was approved.',
      'Verify: select * from verify_chain_integrity().');
  end if;
  return segment;
end
$function$;
comment on function _next_to_prune is
  'The first approved segment with rows after an id, its signatures checked if is_first; null if all are removed. '
  'Raises AUD-016 if none was ever approved, or the approval does not hold.';

create function _refuse_referred(table_name text, after_id bigint, through_id bigint) returns void
language plpgsql
set search_path from current
as $function$
declare
  referred record;
begin
  select r.* into referred from _lowest_reference(table_name, after_id, through_id, '{}') as r;
  if referred.id is not null then
    perform _refuse_retention(
      format('row %s of %s is still referred to by %s', referred.id, table_name, referred.referrer),
      'Rows that refer to others go first.',
      'If those are archived, too, remove them first.');
  end if;
end
$function$;
comment on function _refuse_referred is 'Raises AUD-016 if a row that is there refers to one of these.';

create function _require_root(segment archived_segments) returns void
language plpgsql
set search_path from current
as $function$
begin
  lock table only log_nodes in share update exclusive mode;  -- as seal_log does
  perform _seal_table(segment.table_name, segment.through_id);
  if encode(log_root(segment.table_name, segment.through_id), 'hex') <> segment.root::text then
    perform _refuse_retention(
      format('the log of %s has another root at %s rows than was approved', segment.table_name, segment.through_id),
      format('Proposal %s.', segment.proposal_id),
      format('Look: select * from find_log_damage(%L).', segment.table_name));
  end if;
end
$function$;
comment on function _require_root is
  'Stores the nodes over a segment that are not stored yet; raises AUD-016 if they do not give the approved root.';

create function _prune_rows(table_name text, after_id bigint, through_id bigint) returns void
language plpgsql
set search_path from current
set row_security = off
as $function$
declare
  deleted bigint;
begin
  -- Locked first: what refers to one of them is either seen below, or waits and then finds it gone.
  execute format('select count(*) from (select from only %I as t where t.id > $1 and t.id <= $2 for update) as r',
                 table_name) using after_id, through_id;
  perform _refuse_referred(table_name, after_id, through_id);
  delete from only log_nodes as n
  where n.table_name = _prune_rows.table_name and (n.index + 1) << n.level <= through_id
    and (n.index + 1) << n.level > after_id and _is_stray_node(to_jsonb(n));
  execute format('insert into chain_starts (table_name, id, row_hash, created_at)'
                 ' select $1, t.id, t.row_hash, t.created_at from only %I as t where t.id = $2', table_name)
    using table_name, through_id;
  execute format('delete from only %I as t where t.id > $1 and t.id <= $2', table_name) using after_id, through_id;
  get diagnostics deleted = row_count;
  if deleted <> through_id - after_id then
    perform _refuse_retention(
      format('rows %s to %s of %s are not all there', after_id + 1, through_id, table_name),
      format('%s are.', deleted), format('Verify: select * from verify_chain_integrity(%L).', table_name));
  end if;
end
$function$;
comment on function _prune_rows is
  'Removes the rows after after_id up to through_id, and records that the chain starts behind them. Raises AUD-016 if '
  'one is missing or still referred to.';

create function _prune_batch(
  table_name text, batch integer, is_first boolean default true,
  out deleted bigint, out start_id bigint, out through_id bigint)
language plpgsql security definer
set search_path from current
set row_security = off
-- Few rows at a time, each found by an index, whatever the statistics say.
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $function$
declare
  segment archived_segments;
begin
  perform _require_primary('prune_archived');
  if batch is null or batch not between 256 and 65536 then
    raise exception 'rows are removed 256 to 65,536 at a time, not %', coalesce(batch::text, 'NULL')
      using errcode = '22023', hint = 'Give a number between them. The default is 1024.';
  end if;
  perform _chain_or_error(table_name);
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'rows are removed in READ COMMITTED only'
      using errcode = '25001', detail = 'An older snapshot might not show a legal hold.',
            hint = 'Begin with: begin isolation level read committed.';
  end if;
  if (select s.is_locked from lockdown_status() as s) then
    perform _refuse_retention('in a lockdown nothing leaves the log', 'The damage must be looked at first.',
                              'Look at the damage: select * from lockdown_status().');
  end if;
  lock table only chain_starts in share update exclusive mode;  -- prunings take turns
  start_id := (_chain_start(table_name)).id;
  through_id := _last_segment_end(table_name);
  segment := _next_to_prune(table_name, start_id, is_first);
  deleted := 0;
  if segment.through_id is null then
    return;
  end if;
  deleted := least(_block_end(batch), segment.through_id - start_id, _block_end(_held_from(table_name) - 1) - start_id);
  if deleted <= 0 then
    perform _refuse_held(table_name, start_id + 256);
  end if;
  perform _require_root(segment);
  perform _prune_rows(table_name, start_id, start_id + deleted);
  start_id := start_id + deleted;
  perform _refuse_held(table_name, start_id);  -- a hold that was approved meanwhile
end
$function$;
comment on function _prune_batch is
  'Removes the next rows of an approved segment, at most batch of them; is_first has the signatures checked. deleted '
  'is 0 when all are gone. start_id is the last row that is removed, through_id the last one that is archived.';

select _create_at_home($template$
create procedure prune_archived(table_name text, batch integer default 1024, inout result jsonb default null)
language plpgsql
as $procedure$
#variable_conflict use_variable
declare
  part     pg_catalog.record;
  deleted  pg_catalog.int8 := 0;
begin
  commit;  -- inside a transaction no batch could end
  loop
    set transaction isolation level read committed;
    select p.* into part
    from {home:I}._prune_batch(table_name, batch, deleted operator(pg_catalog.=) 0) as p;
    commit;
    deleted := deleted operator(pg_catalog.+) part.deleted;
    exit when part.deleted operator(pg_catalog.=) 0;
  end loop;
  result := pg_catalog.jsonb_build_object('table', table_name, 'deleted', deleted, 'start_id', part.start_id,
                                          'through_id', part.through_id);
end
$procedure$;
$template$);
comment on procedure prune_archived is
  'Removes the rows of a table that approved proposals archived, batch rows (256 to 65,536) in each transaction, until '
  'all are gone. result is {table, deleted, start_id, through_id}: how many rows went, the last row that is removed, '
  'the last one that is archived. Raises AUD-016, 42P01, 22023, and 2D000 inside a transaction.';

select _grant('select on', '{archived_segments}', '{app_auditor, app_risk}');
select _grant('execute on routine', '{prune_archived, _prune_batch}', '{app_auditor}');
select _grant('execute on routine', '{legal_holds}', '{app_auditor, app_risk}');
