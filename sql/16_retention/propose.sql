-- When rows may be archived
--
-- The payload of a proposal of kind "archive" names a segment, {table, through_id, row_hash, root, segment_sha256}, or
-- several of different tables, {segments: […]}, because an applied proposal makes all others stale. What it must look
-- like is checked once (RSK-001); whether the rows may go is checked when it is proposed, and again when the last
-- approval applies it (AUD-016).

create function _check_segment(item jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  member text;
begin
  perform _check_members('archive', item, '{table, through_id, row_hash, root, segment_sha256}');
  perform _check_retained_table(item -> 'table');
  perform _check_row_id('through_id', item -> 'through_id');
  if (item ->> 'through_id')::bigint % 256 > 0 then
    perform _refuse_consensus(
      'RSK-001', 'through_id is not the end of a block', format('It is %s.', item ->> 'through_id'),
      'Give a multiple of 256, as retention_plan() does.');
  end if;
  foreach member in array array['row_hash', 'root', 'segment_sha256'] loop
    if jsonb_typeof(item -> member) <> 'string' or item ->> member !~ '^[0-9a-f]{64}$' then
      perform _refuse_consensus(
        'RSK-001', format('%s is not a SHA-256 in hex', member), format('It is %s.', left(item ->> member, 80)),
        'Give 64 digits from 0 to 9 and a to f.');
    end if;
  end loop;
end
$function$;
comment on function _check_segment is 'Raises RSK-001 unless an item of a payload names a segment.';

create function _check_archive(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  if not payload ? 'segments' then
    perform _check_segment(payload);
    return;
  end if;
  perform _check_members('archive', payload, '{segments}');
  if jsonb_typeof(payload -> 'segments') <> 'array' or jsonb_array_length(payload -> 'segments') = 0 then
    perform _refuse_consensus(
      'RSK-001', 'segments is not a list of segments', format('It is %s.', left(payload ->> 'segments', 200)),
      'Give an array of objects {table, through_id, row_hash, root, segment_sha256}.');
  end if;
  perform _check_segment(s.value) from jsonb_array_elements(payload -> 'segments') as s;
  if (select count(*) > count(distinct s.table_name) from _archive_items(payload) as s) then
    perform _refuse_consensus(
      'RSK-001', 'a table stands twice among the segments', format('They are %s.', left(payload ->> 'segments', 200)),
      'Name each table once, with the last row that shall go.');
  end if;
end
$function$;
comment on function _check_archive is
  'Raises RSK-001 unless a payload names one segment, or several of different tables.';

create function _refuse_retention(message text, detail text, hint text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse('AUD-016', message, detail, hint, 'retention', 'PRUNE');
end
$function$;
comment on function _refuse_retention is 'Raises AUD-016. Never returns.';
select _count_attempts('AUD-016', 'retention', 'PRUNE');

create function _refuse_held(table_name text, through_id bigint) returns void
language plpgsql
set search_path from current
as $function$
declare
  hold record;
begin
  select h.* into hold from legal_holds() as h
  where h.table_name = _refuse_held.table_name and h.from_id <= through_id order by h.from_id limit 1;
  if found then
    perform _refuse_retention(
      format('%s is on legal hold from row %s on', table_name, hold.from_id),
      format('Proposal %s: %s', hold.proposal_id, left(hold.reason, 200)),
      'Archive rows before it, or propose to end the hold: alpha-db retention release.');
  end if;
end
$function$;
comment on function _refuse_held is 'Raises AUD-016 if a legal hold keeps one of the rows 1 to through_id of a table.';

create function _refuse_other_rows(table_name text, through_id bigint, row_hash text, root text) returns void
language plpgsql
set search_path from current
set row_security = off
as $function$
declare
  archived_to  constant bigint := _last_segment_end(table_name);
  tail_id      bigint;
  stored       text;
begin
  execute format('select (select max(t.id) from only %1$I as t),'
                 ' (select t.row_hash::text from only %1$I as t where t.id = $1)', table_name)
    into tail_id, stored using through_id;
  if through_id <= archived_to then
    perform _refuse_retention(
      format('rows 1 to %s of %s are archived already', archived_to, table_name),
      format('The proposal goes to row %s.', through_id), 'Look at them: select * from archived_segments.');
  elsif tail_id is null or through_id >= tail_id then
    perform _refuse_retention(
      format('the last row of %s must stay', table_name),
      format('It is row %s; the proposal goes to row %s.', coalesce(tail_id::text, 'none'), through_id),
      'Ask retention_plan() how far rows may go.');
  elsif stored is distinct from row_hash then
    perform _refuse_retention(
      format('row %s of %s has another hash', through_id, table_name),
      format('It has %s, the proposal says %s.', coalesce(stored, 'none, because it is missing'), row_hash),
      format('Verify the table: select * from verify_chain_integrity(%L).', table_name));
  elsif encode(log_root(table_name, through_id), 'hex') <> root then
    perform _refuse_retention(
      format('the log of %s had another root at %s rows', table_name, through_id),
      format('It had %s, the proposal says %s.', encode(log_root(table_name, through_id), 'hex'), root),
      format('Give select encode(log_root(%L, %s), ''hex'').', table_name, through_id));
  end if;
end
$function$;
comment on function _refuse_other_rows is
  'Raises AUD-016 unless a segment is the oldest rows of a table, ends before its last row, and is what the rows are.';

-- It calls _history_needed_from (15_history).
create function _refuse_archive(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  archived  constant jsonb := (select jsonb_object_agg(i.table_name, i.through_id) from _archive_items(payload) as i);
  item      record;
  referred  record;
begin
  for item in select i.* from _archive_items(payload) as i loop
    perform _refuse_other_rows(item.table_name, item.through_id, item.last_hash, item.root);
    perform _refuse_held(item.table_name, item.through_id);
    if item.table_name = 'table_changes' and item.through_id >= _history_needed_from() then
      perform _refuse_retention(
        format('the history of a tracked table begins with row %s of table_changes', _history_needed_from()),
        format('The proposal goes to row %s.', item.through_id),
        'Begin its history anew: select track_table(…).');
    end if;
    select r.* into referred
    from _lowest_reference(item.table_name, (_chain_start(item.table_name)).id, item.through_id, archived) as r;
    if referred.id is not null then
      perform _refuse_retention(
        format('row %s of %s is still referred to by %s', referred.id, item.table_name, referred.referrer),
        format('The proposal goes to row %s.', item.through_id),
        'Archive the rows that refer to it as well, or fewer rows: retention_plan() says how many.');
    end if;
  end loop;
end
$function$;
comment on function _refuse_archive is
  'Raises AUD-016 unless all rows of the segments of a payload may go: right, not on hold, and not referred to by rows '
  'that stay.';
