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

-- sql/15_history/needed.sql

-- Which part of the history is still needed

create function _history_needed_from() returns bigint
language sql stable
set search_path from current
as $function$
  select null::bigint;
$function$;
comment on function _history_needed_from is
  'The lowest row of table_changes that the history of a tracked table still needs; null if none does.';

-- sql/16_retention/policies.sql

-- Retention policies: how long the rows of a table are kept before they may be archived
--
-- A policy removes nothing. It says what retention_plan proposes and what growth() reports as overdue. Rows leave only
-- by an approved proposal (propose.sql).

create table retention_policies (
  table_name  text      not null,
  keep        interval  not null,
  constraint retention_policies_pkey primary key (table_name),
  constraint retention_policies_keep_is_positive check (extract(epoch from keep) > 0)
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

-- sql/16_retention/archive.sql

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
perform _protect_table('archived_segments', 'RSK-002', 'RSK-002'), _owner_only('archived_segments', 'RSK-002'),
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

-- sql/16_retention/holds.sql

-- Legal holds: rows that stay, whatever was approved
--
-- A hold is an applied proposal and nothing else: it has no table, its entry in risk_change_log is what holds. It keeps
-- the rows of a table from an id on, those that were archived and not removed yet, too, until an applied "unhold" names
-- it. To hold needs one approval, to end a hold two.

create function legal_holds()
returns table (table_name text, from_id bigint, proposal_id uuid, reason text, held_since timestamptz)
language sql stable security definer
set search_path from current
set row_security = off
as $function$
  select p.payload ->> 'table', (p.payload ->> 'from_id')::bigint, p.proposal_id, p.reason, c.created_at
  from only risk_change_log as c
  join only proposals as p on p.proposal_id = c.proposal_id
  where c.kind::text = 'hold'::text
    and not exists (select from only risk_change_log as e join only proposals as u on u.proposal_id = e.proposal_id
                    where e.kind::text = 'unhold'::text and u.payload ->> 'hold' = c.proposal_id::text and e.id > c.id)
  order by c.id;
$function$;
comment on function legal_holds is
  'The legal holds that stand: table, first row that stays, the proposal that made it, why, and since when.';
create function _held_from(table_name text) returns bigint
language sql stable
set search_path from current
as $function$
  select min(h.from_id) from legal_holds() as h where h.table_name = _held_from.table_name;
$function$;
comment on function _held_from is 'The first row of a table that a legal hold keeps; null if none does.';
-- What the payloads say; 12_consensus/payloads.sql calls these.

create function _check_row_id(member text, value jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  if jsonb_typeof(value) is distinct from 'number' or value #>> '{}' !~ '^[1-9][0-9]{0,17}$' then
    perform _refuse_consensus(
      'RSK-001', format('%s is not the id of a row', member), format('It is %s.', left(value::text, 60)),
      'Give a whole number, 1 or more.');
  end if;
end
$function$;
comment on function _check_row_id is 'Raises RSK-001 unless a member is a number that an id can be.';
create function _check_retained_table(value jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  refused text;
begin
  select case when c.table_name is null then 'There is no such chained table.'
              when c.is_internal and c.table_name <> 'table_changes' then 'alpha-db needs its own tables whole.' end
    into refused
  from (select 1) as one left join only chains as c on to_jsonb(c.table_name) = value;
  if refused is not null then
    perform _refuse_consensus(
      'RSK-001', format('%s is no table of which rows may be archived', left(coalesce(value::text, 'null'), 100)),
      refused, 'Name one of those that retention_plan() lists.');
  end if;
end
$function$;
comment on function _check_retained_table is
  'Raises RSK-001 unless a member names a chained table whose rows may be archived.';
create function _check_hold(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _check_members('hold', payload, '{table, from_id}');
  perform _check_retained_table(payload -> 'table');
  perform _check_row_id('from_id', payload -> 'from_id');
end
$function$;
comment on function _check_hold is 'Raises RSK-001 unless a payload names a table and its first row that must stay.';
create function _check_unhold(payload jsonb) returns void
language plpgsql
set search_path from current
as $function$
declare
  hold uuid;
begin
  perform _check_members('unhold', payload, '{hold}');
  hold := _check_uuid('hold', payload -> 'hold');
  if not exists (select from legal_holds() as h where h.proposal_id = hold) then
    perform _refuse_consensus(
      'RSK-001', 'there is no such legal hold', format('Proposal %s.', hold),
      'Name one of those that legal_holds() lists.');
  end if;
end
$function$;
comment on function _check_unhold is 'Raises RSK-001 unless a payload names a legal hold that stands.';

-- sql/16_retention/references.sql

-- What still refers to rows that are to go
--
-- A row may only go if no row that stays refers to it. The foreign keys of the catalogues are asked, so tables of users
-- count as well. Rows that are archived themselves do not: they may go first. In plans and proposals, "archived" is a
-- map of what shall be archived, {table: through_id}.

create function _rows_stay_from(table_name text, archived jsonb) returns bigint
language sql stable
set search_path from current
as $function$
  select greatest(s.id, (archived ->> table_name)::bigint, 0) + 1 from _chain_start(table_name) as s;
$function$;
comment on function _rows_stay_from is
  'The first row of a chained table that stays when these segments are archived, {table: through_id}.';
create function _lowest_reference(
  table_name text, after_id bigint, through_id bigint, archived jsonb, out id bigint, out referrer text)
language plpgsql stable
set search_path from current
set row_security = off
as $function$
declare
  key      record;
  lowest   bigint;
begin
  for key in
    select c.conrelid::regclass::text as referrer, n.table_name as chained,
           (select string_agg(format('p.%I = c.%I', f.attname, a.attname), ' and ' order by k.place)
            from unnest(c.conkey, c.confkey) with ordinality as k(from_column, to_column, place)
            join pg_attribute as a on a.attrelid = c.conrelid and a.attnum = k.from_column
            join pg_attribute as f on f.attrelid = c.confrelid and f.attnum = k.to_column) as condition
    from pg_constraint as c
    join pg_class as r on r.oid = c.conrelid
    left join only chains as n on n.table_name = r.relname
                              and r.relnamespace = quote_ident(current_schema())::regnamespace
    where c.contype = 'f' and c.confrelid = quote_ident(_lowest_reference.table_name)::regclass
    order by 1
  loop
    execute _fill($query$
      select min(p.id) from only {table:I} as p
      where p.id > $1 and p.id <= $2
        and exists (select from {referrer:s} as c where {condition:s} {stays:s})
      $query$, 'table', table_name, 'referrer', key.referrer, 'condition', key.condition,
      'stays', case when key.chained is not null
                    then format('and c.id >= %s', _rows_stay_from(key.chained, archived)) else '' end)
      into lowest using after_id, through_id;
    if lowest < id or id is null and lowest is not null then
      id := lowest;
      referrer := key.referrer;
    end if;
  end loop;
end
$function$;
comment on function _lowest_reference is
  'The lowest row of a range, after after_id up to through_id, that a row which stays refers to, and the table of that '
  'row; nulls if none does. archived: what shall be archived besides, {table: through_id}.';

-- sql/16_retention/propose.sql

-- When rows may be archived
--
-- The payload of a proposal of kind "archive" names a segment, {table, through_id, row_hash, root, segment_sha256}, or
-- several of different tables, {segments: [ … ]}, because an applied proposal makes all others stale. What it must look
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
perform _count_attempts('AUD-016', 'retention', 'PRUNE');
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
        'Begin its history anew: select snapshot_table(…).');
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

-- sql/16_retention/prune.sql

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
      format('If they are archived, remove them first: call prune_archived(''%s'').', referred.referrer));
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
  if batch is null or batch < 256 then
    raise exception 'rows are removed in blocks of 256, not % at a time', coalesce(batch::text, 'NULL')
      using errcode = '22023', hint = 'Give 256 or more.';
  end if;
  perform _chain_or_error(table_name);
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
end
$function$;
comment on function _prune_batch is
  'Removes the next rows of an approved segment, at most batch of them; is_first has the signatures checked. deleted '
  'is 0 when all are gone. start_id is the last row that is removed, through_id the last one that is archived.';
-- A procedure that commits can pin no search_path: each name in it is qualified.
create function _create_at_home(template text) returns void
language plpgsql
set search_path from current
as $function$
begin
  execute _fill(template, 'home', current_schema());
end
$function$;
comment on function _create_at_home is
  'Creates what a template says, with {home:I} filled in: the schema of this installation.';
perform _create_at_home($template$
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
  'Removes the rows of a table that approved proposals archived, batch rows (256 or more) in each transaction, until '
  'all are gone. result is {table, deleted, start_id, through_id}: how many rows went, the last row that is removed, '
  'the last one that is archived. Raises AUD-016, 42P01, 22023, and 2D000 inside a transaction.';
perform _grant('select on', '{archived_segments}', '{app_auditor, app_risk}');
perform _grant('execute on routine', '{prune_archived, _prune_batch}', '{app_auditor}');
perform _grant('execute on routine', '{legal_holds}', '{app_auditor, app_risk}');

-- sql/16_retention/plan.sql

-- Which rows may go: what a proposal of kind "archive" could name today
--
-- For each table it begins with the last row that is old enough, and takes back what a hold, the history of a tracked
-- table, or a row that stays needs. The row that stays may be of a table whose own end was taken back, so this is
-- repeated until nothing changes. Ends are rounded down to whole blocks of 256.

create function _last_id_before(table_name text, moment timestamptz) returns bigint
language plpgsql stable
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
declare
  low     bigint;  -- before the moment, or the start
  high    bigint;  -- not before it, or behind the end
  middle  bigint;
  is_old  boolean;
begin
  -- Times never decrease and ids have no gaps, so some 30 looks at the primary key find it.
  low := (_chain_start(table_name)).id;
  execute format('select coalesce(max(t.id), $1) + 1 from only %I as t', table_name) into high using low;
  while high - low > 1 loop
    middle := low + (high - low) / 2;
    execute format('select t.created_at < $2 from only %I as t where t.id = $1', table_name)
      into is_old using middle, moment;
    if is_old then
      low := middle;
    else
      high := middle;
    end if;
  end loop;
  return low;
end
$function$;
comment on function _last_id_before is
  'The last row of a chain that is older than a moment; the start of the chain if none is.';
create function _archivable_by_age(before timestamptz, table_name text)
returns table (name text, archived_to bigint, through_id bigint, limited_by text)
language sql stable
set search_path from current
set row_security = off
as $function$
  select c.table_name, _last_segment_end(c.table_name),
         case when i.old is not null
              then _block_end(least(i.old, coalesce(i.tail, 1) - 1, i.held_from - 1, i.needed_from - 1)) end,
         case when i.old is null then 'no policy, and no date was given'
              when i.held_from - 1 <= least(i.old, i.tail - 1) then format('legal hold from row %s on', i.held_from)
              when i.needed_from - 1 <= least(i.old, i.tail - 1)
                then format('the history of a tracked table begins with row %s', i.needed_from)
              when i.tail - 1 < i.old then 'the last row stays'
              else 'age' end
  from only chains as c
  left join only retention_policies as p on p.table_name = c.table_name
  cross join lateral (
    select case when coalesce(before, now() - p.keep) is not null
                then _last_id_before(c.table_name, coalesce(before, now() - p.keep)) end as old,
           (select s.last_id from chain_status() as s where s.table_name = c.table_name) as tail,
           _held_from(c.table_name) as held_from,
           case when c.table_name = 'table_changes' then _history_needed_from() end as needed_from) as i
  where (not c.is_internal or c.table_name = 'table_changes')
    and (_archivable_by_age.table_name is null or c.table_name = _archivable_by_age.table_name)
  order by c.position;
$function$;
comment on function _archivable_by_age is
  'Up to which row each table could go by its age, its holds and the histories that begin in it, and which of them '
  'limits it; references are not looked at.';
-- Longer than 60 lines, because the three steps share their maps.
create function retention_plan(before timestamptz default null, table_name text default null)
returns table (planned_table text, first_id bigint, through_id bigint, last_created_at timestamptz, row_count bigint,
               bytes bigint, limited_by text)
language plpgsql stable security definer
set search_path from current
set row_security = off
as $function$
declare
  plan       jsonb;   -- {table: {archived_to, limited_by}}
  ends       jsonb;   -- {table: through_id}
  unsettled  text[];  -- tables whose end must be looked at
  item       record;
  referred   record;
begin
  if before > now() then
    raise exception 'rows are archived when they are old, not before they are: % has not come', before
      using errcode = '22023', hint = 'Give a time in the past.';
  end if;
  perform _chain_or_error(table_name) where table_name is not null;
  select jsonb_object_agg(a.name, jsonb_build_object('archived_to', a.archived_to, 'limited_by', a.limited_by)),
         jsonb_object_agg(a.name, greatest(a.through_id, a.archived_to))
    into plan, ends
  from _archivable_by_age(before, retention_plan.table_name) as a;
  unsettled := array(select e.key from jsonb_each(ends) as e);
  while unsettled <> '{}' loop
    -- Tables come before those that refer to them, so the last one first: most are looked at once.
    select c.table_name, (ends ->> c.table_name)::bigint as through_id into item
    from only chains as c where c.table_name = any (unsettled) order by c.position desc limit 1;
    unsettled := array_remove(unsettled, item.table_name);
    select r.* into referred
    from _lowest_reference(item.table_name, (plan -> item.table_name ->> 'archived_to')::bigint, item.through_id,
                           ends) as r;
    if referred.id is not null then
      ends := ends || jsonb_build_object(item.table_name, _block_end(referred.id - 1));
      plan := jsonb_set(plan, array[item.table_name, 'limited_by'], to_jsonb(
        format('%s still refers to row %s', referred.referrer, referred.id)));
      -- More of its own rows stay, and so may what they refer to.
      unsettled := array(select u.name from unnest(unsettled) as u(name)
                         union
                         select c.table_name from only chains as c join pg_constraint as k
                           on k.contype = 'f' and k.confrelid = to_regclass(quote_ident(c.table_name))
                             and k.conrelid = to_regclass(quote_ident(item.table_name))
                         where plan ? c.table_name);
    end if;
  end loop;
  for item in
    select c.table_name, (plan -> c.table_name ->> 'archived_to')::bigint as archived_to,
           (ends ->> c.table_name)::bigint as ends_at
    from only chains as c where plan ? c.table_name order by c.position
  loop
    planned_table := item.table_name;
    first_id := item.archived_to + 1;
    row_count := greatest(item.ends_at - item.archived_to, 0);
    through_id := case when row_count > 0 then item.ends_at end;
    limited_by := plan -> item.table_name ->> 'limited_by';
    execute format('select (select t.created_at from only %1$I as t where t.id = $1), pg_table_size($2) * $3'
                   ' / greatest((select max(t.id) from only %1$I as t) - $4, 1)', item.table_name)
      into last_created_at, bytes
      using through_id, to_regclass(quote_ident(item.table_name)), row_count, (_chain_start(item.table_name)).id;
    return next;
  end loop;
end
$function$;
comment on function retention_plan is
  'For each table whose rows may be archived, or one: the rows first_id to through_id that are older than before, or '
  'than its policy keeps them, and to which nothing refers that stays; about how many bytes they take; and what keeps '
  'the next row. through_id is null if none may go. Raises 22023 for a time that has not come.';
perform _grant('execute on routine', '{retention_plan}', '{app_auditor, app_risk}');

-- sql/16_retention/growth.sql

-- How the log grows: how many rows each table has and how large it is, how fast that grows, and what is overdue
--
-- Nothing is counted. Ids have no gap and created_at never decreases, so the first row since a moment is found by
-- halving, in some twenty look-ups by the primary key, and the difference of two ids is a number of rows.
--
-- growth() never fails because of one table: what is gone, locked or unreadable is said in that table's row.

create function _growth_of(table_name text, recent interval)
returns table (rows_stored bigint, bytes bigint, oldest_id bigint, oldest_created_at timestamptz, last_id bigint,
               rows_a_day double precision, bytes_a_day bigint, keep interval, rows_overdue bigint)
language plpgsql stable
set search_path from current
set enable_seqscan = off set jit = off set row_security = off
as $function$
declare
  since  timestamptz := now() - recent;
  days   numeric;
begin
  bytes := pg_total_relation_size(format('%I.%I', current_schema(), table_name)::regclass);
  keep := (select p.keep from only retention_policies as p where p.table_name = _growth_of.table_name);
  -- Behind the start: after pruning, the index still begins with entries of rows that are gone.
  execute format('select t.id, t.created_at from only %I as t where t.id > $1 order by t.id limit 1', table_name)
    into oldest_id, oldest_created_at using (_chain_start(table_name)).id;
  execute format('select t.id from only %I as t order by t.id desc limit 1', table_name) into last_id;
  rows_stored := coalesce(last_id - oldest_id + 1, 0);
  if rows_stored = 0 then
    rows_a_day := 0;
    bytes_a_day := 0;
    rows_overdue := case when keep is not null then 0 end;
  else
    -- A table that is younger than the period has grown in less time. No rate is told of less than a day.
    days := greatest(1, extract(epoch from now() - greatest(since, oldest_created_at)) / 86400);
    rows_a_day := round((last_id - greatest(_last_id_before(table_name, since), oldest_id - 1)) / days, 2);
    bytes_a_day := round(rows_a_day * bytes / rows_stored);
    if keep is not null then
      rows_overdue := greatest(_last_id_before(table_name, now() - keep) - oldest_id + 1, 0);
    end if;
  end if;
  return next;
end
$function$;
comment on function _growth_of is 'How one chained table grows, which must be there.';
create function _growth_of_chains(recent interval)
returns table (table_name text, rows_stored bigint, bytes bigint, oldest_id bigint, oldest_created_at timestamptz,
               last_id bigint, rows_a_day double precision, bytes_a_day bigint, keep interval, rows_overdue bigint,
               error_code text, problem text)
language plpgsql stable
set search_path from current
set row_security = off
set lock_timeout = '100ms'  -- a figure is not worth a wait
as $function$
declare
  chain  record;
begin
  perform _require_register();
  for chain in select c.table_name from only chains as c order by c.position loop
    begin
      problem := _missing_part(chain.table_name);
      if problem is null then
        return query
          select chain.table_name, g.*, null::text, null::text from _growth_of(chain.table_name, recent) as g;
        continue;
      end if;
      error_code := 'AUD-009';
    exception when others then
      error_code := sqlstate;
      problem := 'could not be read: ' || sqlerrm;
    end;
    table_name := chain.table_name;
    return next;  -- of such a table there is nothing but the problem
  end loop;
end
$function$;
comment on function _growth_of_chains is 'The rows of growth() but the last: one for each chained table.';
create function growth(recent interval default '30 days')
returns table (
  table_name         text,
  rows_stored        bigint,
  bytes              bigint,
  oldest_id          bigint,
  oldest_created_at  timestamptz,
  last_id            bigint,
  rows_a_day         double precision,
  bytes_a_day        bigint,
  keep               interval,
  rows_overdue       bigint,
  error_code         text,
  problem            text
)
language plpgsql stable
set search_path from current
as $function$
begin
  if recent is null or recent < interval '1 day' then
    raise exception 'a rate is told of a day or more, not of %', coalesce(recent::text, 'NULL')
      using errcode = '22023', hint = 'Give an interval such as ''30 days''.';
  end if;
  return query
    with tables as materialized (select t.* from _growth_of_chains(recent) as t)
    select t.* from tables as t
    union all
    select null, sum(t.rows_stored)::bigint, sum(t.bytes)::bigint, null, min(t.oldest_created_at), null,
           sum(t.rows_a_day), sum(t.bytes_a_day)::bigint, null, sum(t.rows_overdue)::bigint, null, null
    from tables as t;
end
$function$;
comment on function growth is
  'How each chained table grows: rows and bytes (with indexes) that it has, and gets a day in the recent period; its '
  'oldest row; rows that are older than its retention policy allows. The last row, without a name, is their sum. '
  'problem says why a table has no figures. Raises 22023 for a period of less than a day.';
perform _grant('execute on routine', '{growth, _growth_of_chains, _growth_of, _last_id_before}', '{app_auditor}');

-- sql/16_retention/headroom.sql

-- What runs out: ids, sequences, and the time in which PostgreSQL has to freeze rows
--
-- PostgreSQL reuses transaction ids, so a row must be frozen before the id of its transaction comes round again. Rows
-- of the log never change: freezing them once, soon after they were written, is enough (04_chain/attach.sql).

create function _sequences_used()
returns table (name text, table_name text, used bigint, usable bigint)
language sql volatile security definer
set search_path from current
as $function$
  -- The unlogged ones hold a transaction's id and a hint, which is no count; a standby cannot read them.
  select c.relname::text, t.relname::text, u.used, q.seqmax
  from _guard_home() as home
  join pg_class as c on c.relnamespace = home.oid and c.relowner = home.owner and c.relpersistence = 'p'
  join pg_sequence as q on q.seqrelid = c.oid and q.seqincrement > 0 and not q.seqcycle
  left join pg_depend as d on d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i')
                          and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0
  left join pg_class as t on t.oid = d.refobjid
  cross join lateral (select pg_sequence_last_value(c.oid) as used) as u
  where u.used > 0;
$function$;
comment on function _sequences_used is
  'How far each sequence of this installation has counted that was ever used, how far it can, and the table that it '
  'belongs to.';
create function _storage_setting(options text[], name text) returns text
language sql stable
set search_path from current
as $function$
  select coalesce((select o.option_value from pg_options_to_table(options) as o
                   where o.option_name = _storage_setting.name),
                  current_setting(name, true));
$function$;
comment on function _storage_setting is
  'What a table''s storage parameter says, otherwise the server''s setting of that name; null without either.';
create function _ids_left()
returns table (kind text, name text, used bigint, usable bigint, a_day double precision)
language sql volatile
set search_path from current
as $function$
  with
  growing as materialized (select g.* from growth() as g where g.table_name is not null),
  since as (select greatest(1, extract(epoch from now() - i.installed_at) / 86400) as days from only installation as i)
  select 'ids', g.table_name, coalesce(g.last_id, 0),
         case a.atttypid when 'smallint'::regtype then 32767
                         when 'integer'::regtype then 2147483647
                         else 9223372036854775807 end,
         g.rows_a_day
  from growing as g
  join pg_attribute as a on a.attrelid = to_regclass(format('%I.%I', current_schema(), g.table_name))
                        and a.attname = 'id'
  where g.problem is null
  union all
  -- A sequence that belongs to a table counts its rows; of any other there is only what it has counted in all.
  select 'sequence', s.name, s.used, s.usable, coalesce(g.rows_a_day, round(s.used / since.days, 2)::float8)
  from _sequences_used() as s
  cross join since
  left join growing as g on g.table_name = s.table_name;
$function$;
comment on function _ids_left is 'The rows of headroom() of ids and sequences.';
create function _freezing_due()
returns table (kind text, name text, used bigint, due bigint, usable bigint, problem text)
language sql stable
set search_path from current
as $function$
  with
  places as (
    select c.table_name as name, r.reloptions, greatest(age(r.relfrozenxid), age(t.relfrozenxid)) as age,
           greatest(mxid_age(r.relminmxid), mxid_age(t.relminmxid)) as multixact_age
    from only chains as c
    join pg_class as r on r.oid = to_regclass(format('%I.%I', current_schema(), c.table_name)) and r.relkind = 'r'
    left join pg_class as t on t.oid = r.reltoastrelid
    union all
    -- When the oldest database of a server may write no more, none may.
    (select 'database ' || d.datname, null, age(d.datfrozenxid), mxid_age(d.datminmxid)
     from pg_database as d order by age(d.datfrozenxid) desc limit 1)
  )
  select k.kind, p.name, k.age, d.due, 2144483647,  -- three million before it would come round: PostgreSQL stops there
         case when k.age > d.due then
           format('rows were not frozen in time: %s old, and %s is %s', k.age, k.setting, d.due) end
  from places as p
  cross join lateral (values ('transaction ids', p.age, 'autovacuum_freeze_max_age'),
                             ('multixact ids', p.multixact_age, 'autovacuum_multixact_freeze_max_age'))
                     as k(kind, age, setting)
  cross join lateral (select least(_storage_setting(p.reloptions, k.setting)::bigint,
                                   current_setting(k.setting)::bigint) as due) as d;
$function$;
comment on function _freezing_due is 'The rows of headroom() that say how old unfrozen rows are.';
create function _vacuum_due()
returns table (kind text, name text, used bigint, due bigint, problem text)
language sql stable
set search_path from current
as $function$
  select 'autovacuum', 'server', null, null, 'autovacuum is off: rows are frozen only when there is no other way'
  where not (current_setting('autovacuum')::boolean and current_setting('track_counts')::boolean)
  union all
  select 'inserts until a vacuum', c.table_name, pg_stat_get_ins_since_vacuum(r.oid), d.due,
         case when not coalesce(_storage_setting(r.reloptions, 'autovacuum_enabled')::boolean, true)
              then 'autovacuum is off for it'
              when d.threshold < 0 then 'inserts never start a vacuum of it: autovacuum_vacuum_insert_threshold is -1'
              when d.due > 10000000 then format('a vacuum comes only after %s inserts', d.due) end
  from only chains as c
  join pg_class as r on r.oid = to_regclass(format('%I.%I', current_schema(), c.table_name)) and r.relkind = 'r'
  cross join lateral (
    select t.threshold, (t.threshold + t.factor * greatest(r.reltuples, 0))::bigint as due
    from (select _storage_setting(r.reloptions, 'autovacuum_vacuum_insert_threshold')::bigint,
                 _storage_setting(r.reloptions, 'autovacuum_vacuum_insert_scale_factor')::float8)
         as t(threshold, factor)) as d;
$function$;
comment on function _vacuum_due is 'The rows of headroom() that say when the next vacuum freezes what was inserted.';
create function headroom()
returns table (kind text, name text, used bigint, due bigint, usable bigint, a_day double precision,
               days_left double precision, problem text)
language sql volatile
set search_path from current
as $function$
  select i.kind, i.name, i.used, null::bigint, i.usable, i.a_day, d.days,
         case when d.days < 90 then format('runs out at the present rate; days left: %s', d.days)
              when i.used > 0.9 * i.usable then format('%s of %s are used', i.used, i.usable) end
  from _ids_left() as i
  cross join lateral (select floor((i.usable - i.used) / nullif(i.a_day, 0)) as days) as d
  union all
  select f.kind, f.name, f.used, f.due, f.usable, null, null, f.problem from _freezing_due() as f
  union all
  select v.kind, v.name, v.used, v.due, null, null, null, v.problem from _vacuum_due() as v;
$function$;
comment on function headroom is
  'What runs out: ids of chained tables, sequences, ages of transaction and multixact ids, inserts until the next '
  'vacuum. used of usable; PostgreSQL acts by itself at due. problem says where somebody has to act: less than 90 '
  'days are left, more than nine tenths are used, rows were not frozen in time, autovacuum is off or comes late.';
perform _grant('execute on routine', '{headroom, _ids_left, _sequences_used, _storage_setting, _freezing_due,
                                      _vacuum_due}',
              '{app_auditor}');

perform _finish_migration('007_own_tables');
end
$migration$;
