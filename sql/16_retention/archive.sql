-- Archived segments: the oldest rows of a chain, which agents agreed to keep in a file instead
--
-- A log that can only grow is not kept for years. So its oldest rows may leave, as a contiguous prefix of their chain:
--
--   1. retention_plan() says which rows may go (plan.sql).
--   2. The client writes them into a segment, a file that proves itself, and proposes its SHA-256 with the hash of its
--      last row and the root of the log up to there: a proposal of kind "archive". It loosens, so two must approve it.
--   3. The last approval records the segment here. No row has gone yet.
--   4. prune_archived() removes the rows in blocks of 256, and records in chain_starts how far it is (prune.sql).
--
-- Verification starts behind the removed rows, from the hash of the last one (04_chain/starts.sql). It believes no
-- table: _archive_proposal derives the approval from signatures. Anyone who removes rows without it leaves a damaged
-- chain.
--
-- A legal hold keeps rows from an id on, whatever was approved (holds.sql).

create table archived_segments (
  id               bigserial    not null,
  table_name       text         not null,
  first_id         bigint       not null,
  through_id       bigint       not null,
  last_hash        char(64)     not null,
  last_created_at  timestamptz  not null,
  root             char(64)     not null,
  segment_sha256   char(64)     not null,
  proposal_id      uuid         not null,
  row_hash         char(64)     not null,
  created_at       timestamptz  not null,
  recorded_by      text         not null,
  constraint archived_segments_pkey primary key (id),
  constraint archived_segments_table_name_through_id_key unique (table_name, through_id),
  constraint archived_segments_is_whole_blocks check (first_id % 256 = 1 and through_id % 256 = 0
                                                      and through_id > first_id)
);
comment on table  archived_segments                 is
  'Segments of chains that an approved proposal archived: their rows may be removed here. Append-only, hash-chained.';
comment on column archived_segments.id              is 'Position in the chain.';
comment on column archived_segments.table_name      is 'The chained table.';
comment on column archived_segments.first_id        is 'First row of the segment.';
comment on column archived_segments.through_id      is 'Last row of the segment.';
comment on column archived_segments.last_hash       is 'row_hash of its last row.';
comment on column archived_segments.last_created_at is 'created_at of its last row.';
comment on column archived_segments.root            is 'Root of the table''s log when it had through_id rows, in hex.';
comment on column archived_segments.segment_sha256  is 'SHA-256 of the file that keeps the rows, in hex.';
comment on column archived_segments.proposal_id     is 'The approved proposal.';
comment on column archived_segments.row_hash        is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column archived_segments.created_at      is 'When it was approved.';
comment on column archived_segments.recorded_by     is 'The login that completed the approval.';

create function _archive_items(payload jsonb)
returns table (table_name text, through_id bigint, last_hash text, root text, segment_sha256 text)
language sql immutable
set search_path from current
as $function$
  select i.value ->> 'table', (i.value ->> 'through_id')::bigint, i.value ->> 'row_hash', i.value ->> 'root',
         i.value ->> 'segment_sha256'
  from jsonb_array_elements(case when payload ? 'segments' then payload -> 'segments'
                                 else jsonb_build_array(payload) end) with ordinality as i(value, place)
  order by i.place;
$function$;
comment on function _archive_items is
  'The segments that the payload of an archive proposal names: itself for one, its member segments for several.';

create function _block_end(id bigint) returns bigint
language sql immutable
set search_path from current
as $function$
  select id / 256 * 256;
$function$;
comment on function _block_end is 'The last row of the last whole block of 256 that ends at an id or before it.';

create function _last_segment_end(table_name text) returns bigint
language sql stable
set search_path from current
set row_security = off
as $function$
  select coalesce(max(s.through_id), 0) from only archived_segments as s
  where s.table_name = _last_segment_end.table_name;
$function$;
comment on function _last_segment_end is 'Up to which id the rows of a table are archived, removed or not; 0 for none.';

create function _record_segments(proposal_id uuid, payload jsonb) returns void
language plpgsql
set search_path from current
set row_security = off
as $function$
declare
  item        record;
  last_time   timestamptz;
begin
  for item in select i.* from _archive_items(payload) as i loop
    execute format('select t.created_at from only %I as t where t.id = $1', item.table_name)
      into last_time using item.through_id;
    insert into archived_segments (table_name, first_id, through_id, last_hash, last_created_at, root, segment_sha256,
                                   proposal_id)
    values (item.table_name, _last_segment_end(item.table_name) + 1, item.through_id, item.last_hash, last_time,
            item.root, item.segment_sha256, _record_segments.proposal_id);
  end loop;
end
$function$;
comment on function _record_segments is
  'Writes the rows of archived_segments that an applied proposal makes. Called by _apply_proposal.';

create function _validate_segment() returns trigger
language plpgsql security definer
set search_path from current
as $function$
begin
  if not exists (
      select from _last_applied() as l cross join lateral _archive_items(l.payload) as i
      where l.proposal_id = new.proposal_id and l.kind = 'archive'
        and (i.table_name, i.through_id, i.last_hash, i.root, i.segment_sha256)
            = (new.table_name, new.through_id, new.last_hash::text, new.root::text, new.segment_sha256::text)
        and new.first_id = _last_segment_end(new.table_name) + 1) then
    perform _refuse_direct_change(
      tg_argv[0], tg_op, 'The proposal that it names is not the last one applied, or says something else.');
  end if;
  return new;
end
$function$;
comment on function _validate_segment is
  'Row trigger of archived_segments: refuses (RSK-002) a segment that no approved proposal archived. Argument: table.';

create trigger _500_validate before insert on archived_segments
  for each row execute function _validate_segment('archived_segments');
comment on trigger _500_validate on archived_segments is
  'Refuses a segment that no approved proposal archived (RSK-002).';
select _protect_table('archived_segments', 'RSK-002', 'RSK-002'), _owner_only('archived_segments', 'RSK-002'),
       _chain_attach('archived_segments');

-- Replaces the placeholder in 04_chain/starts.sql.
create or replace function _archive_proposal(table_name text, through_id bigint, row_hash text) returns uuid
language plpgsql stable security definer
set search_path from current
set row_security = off
as $function$
declare
  segment    archived_segments;
  last_hash  text := _archive_proposal.row_hash;
begin
  select * into segment from only archived_segments as s
  where s.table_name = _archive_proposal.table_name and s.through_id >= _archive_proposal.through_id
  order by s.through_id limit 1;
  if segment.through_id > through_id then
    -- Some of its rows are still there: the last one must be that which the agents saw.
    execute format('select t.row_hash::text from only %I as t where t.id = $1', table_name)
      into last_hash using segment.through_id;
  end if;
  if segment.last_hash::text is distinct from last_hash then
    return null;
  end if;
  -- Not the table but the signatures say what was applied.
  return (
    select r.proposal_id
    from only risk_change_log as c
    cross join lateral _replay_consensus(true, c.version) as r
    cross join lateral _archive_items(r.payload) as i
    where c.proposal_id = segment.proposal_id and r.version = c.version and r.problem is null and r.kind = 'archive'
      and i.table_name = segment.table_name and i.through_id = segment.through_id
      and i.last_hash = segment.last_hash::text);
end
$function$;
comment on function _archive_proposal is
  'The proposal, signed by its proposer and enough other agents, that archived the rows of a chain up to an id with '
  'this hash. Null if there is none.';

-- Replaces the placeholder in 12_consensus/problems.sql.
create or replace function _segment_problems(changes replayed_change[])
returns table (table_name text, id bigint, problem text)
language sql stable
set search_path from current
set row_security = off
as $function$
  with due as (
    select c.version, c.proposal_id, i.*
    from unnest(changes) as c cross join lateral _archive_items(c.payload) as i
    where c.kind = 'archive' and c.problem is null)
  select 'archived_segments', s.id,
         case when s.id is null then format('the segment of %s that version %s archived is not there',
                                            d.table_name, d.version)
              else 'no applied proposal archived it as it stands' end
  from due as d
  full join only archived_segments as s
    on (s.proposal_id, s.table_name, s.through_id, s.last_hash::text, s.root::text, s.segment_sha256::text)
     = (d.proposal_id, d.table_name, d.through_id, d.last_hash, d.root, d.segment_sha256)
  where s.id is null or d.version is null
    -- From the first entry that does not hold, nothing is known of what should stand here.
    and not exists (select from unnest(changes) as c where c.problem is not null);
$function$;
comment on function _segment_problems is
  'Segments that no applied proposal archived, and archived ones that are missing.';
