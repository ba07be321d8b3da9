-- 006_checkpoints: every chained table as an RFC 6962 Merkle log, so that a few hashes kept elsewhere can show a cut tail,
-- a rewritten chain or an older copy, and one row can be proven without the database.
-- Built from sql/ by bin/build; change it there.
-- depends: 005_agent_consensus

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
if not _begin_migration('006_checkpoints') then return; end if;

-- sql/13_merkle/nodes.sql

-- Merkle logs: a few hashes kept elsewhere can show that a log was cut, rewritten or replaced by an older copy
--
-- Each chained table is a log as RFC 6962 (and its successor RFC 9162) describes it. The names are theirs:
--
--   leaf           leaf i, from 0, is row i + 1. Its hash is SHA-256(0x00 || the 32 bytes of row_hash).
--   node           SHA-256(0x01 || left || right)
--   D[first:last]  the leaves first to last - 1
--   MTH            the root over leaves (Merkle tree hash); a tree splits at the largest power of two below its size
--   PATH           the inclusion proof: the hashes that lead from a leaf to the root
--   PROOF          the consistency proof: the hashes that show that a larger log begins with a smaller one
--
-- The files: nodes.sql (what is stored), tree.sql (MTH), seal.sql (storing nodes), proofs.sql (roots, PATH, PROOF),
-- verify.sql (checking proofs, and the stored nodes), checkpoint.sql (where the logs stand, and comparing them with a
-- checkpoint), runs.sql (what a checkpoint covers), read.sql (what exporters ask).
--
-- Only nodes over 256, 65,536, 16,777,216 … leaves are stored; whatever lies between is at most 256 hashes away. They
-- are derived from the rows, so they are not a chain of their own: find_log_damage compares them with the rows, and
-- verify_checkpoint does not look at them.
--
-- A row that append_* wrote is visible before it is on disk, and a crash can take it back. A node over it cannot
-- outlive it: seal_log sees only committed rows, so the commit of the row stands before the node in the write-ahead
-- log. A dump holds rows and nodes of one snapshot.

create table log_nodes (
  table_name  text     not null,
  level       integer  not null,
  index       bigint   not null,
  hash        bytea    not null,
  last_hash   bytea    not null,
  constraint log_nodes_pkey primary key (table_name, level, index, last_hash),
  constraint log_nodes_level_is_stored check (level >= 8 and level <= 56 and level % 8 = 0),
  constraint log_nodes_index_is_a_place check (index >= 0 and index < (1::bigint << 62 - level)),
  constraint log_nodes_hash_is_sha256 check (octet_length(hash) = 32),
  constraint log_nodes_last_hash_is_sha256 check (octet_length(last_hash) = 32)
);
comment on table log_nodes is
  'Nodes of the Merkle logs that seal_log has computed: of each complete subtree of 256, 65,536 … rows the root. '
  'Append-only, and derived from the rows.';
comment on column log_nodes.table_name is 'The chained table.';
comment on column log_nodes.level      is 'Height of the node: it stands over 2^level rows. 8, 16, 24 and so on.';
comment on column log_nodes.index is
  'Place among the nodes of its level, from 0: it stands over the rows index * 2^level + 1 to (index + 1) * 2^level.';
comment on column log_nodes.hash       is 'Root of the subtree, 32 bytes.';
comment on column log_nodes.last_hash is
  'row_hash of the last row that it stands over: after rows were lost and others written in their place, the node is '
  'of none.';
-- It calls _log_row_hash (tree.sql).
create function _is_stray_node(node jsonb) returns boolean
language plpgsql stable
set search_path from current
set row_security = off
as $function$
begin
  return exists (
    select from only log_nodes as n
    where n.table_name = node ->> 'table_name' and n.level = (node ->> 'level')::integer
      and n.index = (node ->> 'index')::bigint and n.last_hash <> (node ->> 'last_hash')::bytea
      and n.last_hash = _log_row_hash(n.table_name, (n.index + 1) << n.level));
end
$function$;
comment on function _is_stray_node is
  'Whether a stored node stayed behind when rows were lost and others written in their place: another one in its place '
  'belongs to the row that is there.';
perform _protect_table('log_nodes', 'AUD-011', 'AUD-011'), _owner_only('log_nodes', 'AUD-011');
create function _merkle_parents(nodes bytea) returns bytea
language plpgsql immutable parallel safe
set search_path from current
as $function$
declare
  pairs    integer := length(nodes) / 64;
  parents  bytea   := '';
begin
  -- A loop takes a third of the time of a query. Each step copies what it has, so 256 nodes are a good number.
  for pair in 0 .. pairs - 1 loop
    parents := parents || sha256(decode('01', 'hex') || substr(nodes, 64 * pair + 1, 64));
  end loop;
  -- A last node without a partner moves up as it is: that is the tree which RFC 6962 splits at powers of two.
  return parents || substr(nodes, 64 * pairs + 1);
end
$function$;
comment on function _merkle_parents is
  'The nodes one height above these, both concatenated, 32 bytes each; the last may stand over fewer leaves than the '
  'others.';
create function _merkle_root(nodes bytea) returns bytea
language plpgsql immutable parallel safe
set search_path from current
as $function$
begin
  while length(nodes) > 32 loop
    nodes := _merkle_parents(nodes);
  end loop;
  return nodes;
end
$function$;
comment on function _merkle_root is 'The root over nodes of one height, concatenated.';
create function _merkle_path(nodes bytea, place integer) returns bytea[]
language plpgsql immutable parallel safe
set search_path from current
as $function$
declare
  path     bytea[] := '{}';
  sibling  bytea;
begin
  while length(nodes) > 32 loop
    sibling := substr(nodes, 32 * (place # 1) + 1, 32);
    if sibling <> '' then
      path := path || sibling;
    end if;
    nodes := _merkle_parents(nodes);
    place := place >> 1;
  end loop;
  return path;
end
$function$;
comment on function _merkle_path is
  'The hashes by which the node at a place, from 0, gives the root over nodes of one height, concatenated; the nearest '
  'first.';

-- sql/13_merkle/tree.sql

-- The tree: the root over any range of rows (MTH), from stored nodes where there are any
--
-- In this order: the rows as leaves (_log_tail, _log_unbroken_to, _log_row_hash, _log_leaves), then the nodes of a
-- height, stored (_log_stored_nodes) or computed (_log_level), from which the root follows (_log_subtree). A level is a
-- multiple of 8, because 2^8 = 256 nodes at a time are hashed in one call.
--
-- Rows that retention has removed (04_chain/starts.sql) are known by the stored nodes over them, which stay.
--
-- A call reads each leaf and each stored node at most once. Most calls are the first of a connection: there, each table
-- or operator that is named for the first time costs as much as reading many rows.

create function _log_tail(table_name text) returns bigint
language plpgsql stable
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
declare
  command  text;
  tail     bigint;
begin
  -- A query that names every column that the rows were hashed with shows that they are there. If PostgreSQL refuses it,
  -- _require_chain says why. Asking that first would cost a connection's first proof a fifth of its time.
  begin
    select format('select coalesce(max(r.id), 0) from (select t.row_hash, %s from only %I as t) as r',
                  string_agg(distinct format('t.%I', u.name), ', '), c.table_name)
      into command
    from only chains as c
    join only chain_columns as k on k.table_name = c.table_name
    cross join unnest(k.column_names) as u(name)
    where c.table_name = _log_tail.table_name
      and exists (select from pg_class as r
                  where r.oid = to_regclass(format('%I.%I', current_schema(), c.table_name)) and r.relkind = 'r')
    group by c.table_name;
    if found then
      execute command into tail;
      return tail;
    end if;
  exception when undefined_table or undefined_column or insufficient_privilege then null;
  end;
  perform _require_chain(table_name);
  execute format('select coalesce(max(t.id), 0) from only %I as t', table_name) into tail;
  return tail;
end
$function$;
comment on function _log_tail is
  'Size of a table''s log: the id of its last row, 0 for none. Raises 42P01 for what is no chained table, AUD-009 for '
  'one that is gone.';
create function _log_unbroken_to(table_name text, size bigint) returns bigint
language plpgsql stable
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
declare
  start    constant bigint := (_chain_start(table_name)).id;
  last_id  bigint;
begin
  execute format($query$
    select coalesce(max(r.id), $2)
    from (select t.id, $2 + row_number() over (order by t.id) as place from only %I as t where t.id > $2 and t.id <= $1
         ) as r
    where r.id = r.place $query$, _log_unbroken_to.table_name)
    into last_id using size, start;
  return least(last_id, size);
end
$function$;
comment on function _log_unbroken_to is
  'Up to which id, at most size, the rows of a table stand without a gap behind the start of its chain; the start, or '
  '0, if the first is missing.';
create function _refuse_leaves(table_name text, first bigint, last bigint) returns void
language plpgsql stable
set search_path from current
as $function$
declare
  start     constant bigint := (_chain_start(table_name)).id;
  unbroken  bigint := _log_unbroken_to(table_name, last);
begin
  if first < start then
    raise exception 'rows % to % of % are archived, and cannot be hashed here any more',
      first + 1, least(last, start), table_name
      using errcode = '22023', table = table_name,
            detail = format('Retention has removed the rows 1 to %s.', start),
            hint = 'Look at their segment: select * from archived_segments.';
  end if;
  raise exception 'AUD-009: rows % to % of % have no root', first + 1, last, table_name
    using errcode = 'AUD09', table = table_name,
          detail = case when unbroken < last then format('Row %s is missing.', unbroken + 1)
                        else 'A row_hash among them is not hex.' end,
          hint = format('Look at every broken place: select * from find_chain_damage(%L).', table_name);
end
$function$;
comment on function _refuse_leaves is
  'Raises AUD-009: a row is missing or its hash is not hex, and a root without it would be wrong; 22023 for a row that '
  'is archived. Never returns.';
create function _log_row_hash(table_name text, id bigint) returns bytea
language plpgsql stable
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
declare
  row_hash bytea;
begin
  execute format($query$
    select case when t.row_hash ~ '^[0-9a-f]{64}$' then decode(t.row_hash, 'hex') end
    from only %I as t where t.id = $1 $query$, _log_row_hash.table_name)
    into row_hash using id;
  return coalesce(row_hash, (
    -- A node over archived rows belongs to one that was removed. Only what prune_archived found right is there.
    select (array_agg(n.last_hash))[1] from only log_nodes as n
    where n.table_name = _log_row_hash.table_name and n.level = 8 and n.index = (_log_row_hash.id >> 8) - 1
      and _log_row_hash.id % 256 = 0 and _was_removed(_log_row_hash.table_name, _log_row_hash.id)
    having count(*) = 1));
end
$function$;
comment on function _log_row_hash is
  'The hash of a row, 32 bytes, also of the last of 256 that are archived; null if there is none.';
create function _log_leaves(table_name text, first bigint, last bigint) returns bytea
language plpgsql stable
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
declare
  leaves bytea;
begin
  begin
    execute format($query$
      select string_agg(sha256(decode('00', 'hex') || decode(t.row_hash, 'hex')), '' order by t.id)
      from only %I as t where t.id > $1 and t.id <= $2 $query$, _log_leaves.table_name)
      into leaves using first, last;
  exception when invalid_parameter_value then null;  -- not hex: no leaves
  end;
  if length(leaves) is distinct from 32 * (last - first) then
    perform _refuse_leaves(table_name, first, last);
  end if;
  return leaves;
end
$function$;
comment on function _log_leaves is
  'The hashes of the leaves first to last - 1, concatenated, from the rows. Raises AUD-009 if one is missing.';
create function _log_stored_nodes(table_name text, level integer, first bigint, last bigint, look_at_each boolean)
returns bytea
language plpgsql stable
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
begin
  return (
    select string_agg(n.hash, '' order by n.index)
    from only log_nodes as n
    where n.table_name = _log_stored_nodes.table_name and n.level = _log_stored_nodes.level
      and n.index >= first and n.index < last
      and (not look_at_each or n.last_hash = _log_row_hash(n.table_name, (n.index + 1) << n.level))
    having count(*) = max(n.index) + 1 - first and count(distinct n.index) = count(*)
       and (array_agg(n.last_hash order by n.index desc))[1]
           = _log_row_hash(_log_stored_nodes.table_name, (max(n.index) + 1) << _log_stored_nodes.level));
end
$function$;
comment on function _log_stored_nodes is
  'The stored nodes of a level from index first to before last, concatenated, as far as they go. Null if there is '
  'none, if two stand in one place or one is gone, or if the last row of the last node is not there any more. '
  'look_at_each leaves out every node whose last row is not there.';
create function _log_level(table_name text, level integer, first bigint, last bigint, use_stored boolean,
                           own bigint default null) returns bytea
language plpgsql stable
set search_path from current
as $function$
declare
  nodes     bytea  := '';
  known_to  bigint := last;  -- as far as nodes are stored that may be believed
begin
  if level = 0 then
    return _log_leaves(table_name, first, last);
  end if;
  if not use_stored then
    known_to := least(last, (_chain_start(table_name)).id);  -- there are no rows to hash
  end if;
  if known_to > first then
    -- Only complete subtrees are stored: the one at the right edge still grows. A row's hash covers all rows before it,
    -- so if the last row of one node is there, all nodes before it are good. After rows were lost, and others written
    -- in their place, two nodes may stand in one place: then the last row of each is looked at.
    nodes := coalesce(
      _log_stored_nodes(table_name, level, first >> level, known_to >> level, look_at_each => false),
      _log_stored_nodes(table_name, level, first >> level, known_to >> level, look_at_each => true), '');
  end if;
  for index in (first >> level) + length(nodes) / 32 .. (last - 1) >> level loop
    nodes := nodes || case index when own then decode(repeat('00', 32), 'hex')
                      else _merkle_root(_log_level(table_name, level - 8, index << level,
                                                   least((index + 1) << level, last), use_stored)) end;
  end loop;
  return nodes;
end
$function$;
comment on function _log_level is
  'The nodes of a height (0, 8, 16 …) over the leaves first to last - 1, concatenated. Those that are not stored, or '
  'with use_stored => false all whose rows are there, are computed from below; above the leaves, the one with the '
  'index own is not: zeros stand for it. first is a multiple of 2^level.';
create function _log_subtree(table_name text, first bigint, last bigint, use_stored boolean default true) returns bytea
language plpgsql stable
set search_path from current
as $function$
declare
  height integer := 64 - position(b'1' in (last - first)::bit(64));
begin
  -- From the level of which at most 256 nodes make it up.
  return _merkle_root(_log_level(table_name, height - height % 8, first, last, use_stored));
end
$function$;
comment on function _log_subtree is
  'MTH(D[first:last]) of RFC 6962: the root over the leaves first to last - 1, one or more, as they occur in proofs.';

-- sql/13_merkle/seal.sql

-- Sealing: new nodes for the rows that came since
--
-- Sealing is only for speed: every root and every proof can be had without it. A node is stored with the hash of the
-- last row that it stands over. As long as that row stands there, so does the node, because a row's hash covers all
-- rows before it; after rows were lost and others written in their place, the old node belongs to no row and new ones
-- stand beside it.

create function _log_next_node(table_name text, level integer) returns bigint
language sql stable
set search_path from current
set row_security = off
set enable_seqscan = off set jit = off
as $function$
  -- A row's hash covers all rows before it, so below a node whose last row still stands all are good.
  select coalesce((select n.index + 1 from only log_nodes as n
                   where n.table_name = _log_next_node.table_name and n.level = _log_next_node.level
                     and n.last_hash = _log_row_hash(n.table_name, (n.index + 1) << n.level)
                   order by n.index desc limit 1), 0);
$function$;
comment on function _log_next_node is
  'How many nodes of a level are stored for the rows that are there: the index of the next.';
create function _seal_table(table_name text, last bigint) returns void
language plpgsql
set search_path from current
as $function$
declare
  height integer := 8;
begin
  -- Each level from the one below, which the statement before has stored.
  while last >> height > 0 loop
    insert into log_nodes (table_name, level, index, hash, last_hash)
    select _seal_table.table_name, height, n.i,
           _merkle_root(_log_level(_seal_table.table_name, height - 8, n.i << height, (n.i + 1) << height,
                                   use_stored => true)),
           _log_row_hash(_seal_table.table_name, (n.i + 1) << height)
    -- In the select list it counts as it goes, and ends at the first missing row; a forged id would make it count for
    -- ever.
    from (select generate_series(_log_next_node(_seal_table.table_name, height), (last >> height) - 1) as i) as n
    on conflict on constraint log_nodes_pkey do nothing;  -- in REPEATABLE READ, 40001 instead of 23505
    height := height + 8;
  end loop;
end
$function$;
comment on function _seal_table is 'Stores the nodes that the leaves before last complete and that are not stored yet.';
create function seal_log(table_name text default null, max_rows bigint default 250000)
returns table (sealed_table text, sealed_from bigint, sealed_to bigint, rows_left bigint)
language plpgsql security definer
set search_path from current
set row_security = off
as $function$
declare
  first  bigint;
  last   bigint;
  tail   bigint;
begin
  perform _require_primary('seal_log');
  if table_name is not null then
    perform _chain_or_error(table_name);
  end if;
  if max_rows < 256 then
    raise exception 'seal_log: max_rows is %, and nodes are stored for 256 rows at a time', max_rows
      using errcode = '22023', hint = 'Give 256 or more, or nothing.';
  end if;
  -- One call at a time, so that none does again what another is doing. Writers of the chains never take this lock.
  lock table only log_nodes in share update exclusive mode;
  for sealed_table in
    select c.table_name from only chains as c
    where seal_log.table_name is null or c.table_name = seal_log.table_name
    order by c.position
  loop
    first := _log_next_node(sealed_table, 8) << 8;
    begin
      tail := _log_tail(sealed_table);
      last := first + greatest(least(tail - first, max_rows), 0) >> 8 << 8;
      continue when last = first;
      perform _seal_table(sealed_table, last);
    exception when sqlstate 'AUD09' then
      continue;  -- a log with a missing row is not sealed over it, nor one that is gone; the others are
    end;
    sealed_from := first + 1;
    sealed_to := last;
    rows_left := (tail - last) >> 8 << 8;
    max_rows := max_rows - (last - first);
    return next;
  end loop;
end
$function$;
comment on function seal_log is
  'Extends the stored nodes of every log, or of one, towards its tail, by at most max_rows rows, all if it is null, in '
  'whole blocks of 256; a row for each log that grew, with how many rows remain to be sealed. Takes no lock that a '
  'writer waits for.';
perform _create_at_home($template$
create procedure seal_logs(table_name text default null, batch bigint default 250000, inout result jsonb default null)
language plpgsql
as $procedure$
#variable_conflict use_variable
declare
  part    pg_catalog.int8;
  sealed  pg_catalog.int8 := 0;
begin
  commit;  -- inside a transaction no batch could end
  loop
    select pg_catalog.sum(s.sealed_to operator(pg_catalog.-) s.sealed_from operator(pg_catalog.+) 1) into part
    from {home:I}.seal_log(table_name, batch) as s;
    commit;
    exit when part is null;
    sealed := sealed operator(pg_catalog.+) part;
  end loop;
  result := pg_catalog.jsonb_build_object('rows_sealed', sealed);
end
$procedure$;
$template$);
comment on procedure seal_logs is
  'Seals every log, or one, to its tail, batch rows (256 or more) in each transaction. result is {rows_sealed}. Raises '
  '42P01, 22023, and 2D000 inside a transaction.';

-- sql/13_merkle/proofs.sql

-- Roots, inclusion proofs (PATH) and consistency proofs (PROOF), of every size up to the tail, sealed or not
--
-- recompute_log_root is what verify_checkpoint uses: it never looks at stored nodes, but where rows are archived. Those
-- are covered by the root that the agents approved, and by every root that was signed since. recompute_block_roots does
-- the same in parts, for several connections.

create function _check_log_size(table_name text, size bigint) returns void
language plpgsql stable
set search_path from current
as $function$
declare
  tail bigint := _log_tail(table_name);
begin
  if size is null or size not between 0 and tail then
    raise exception 'the log of % has no size %', table_name, coalesce(size::text, 'NULL')
      using errcode = '22023', hint = format('Give a size from 0 to %s, the number of its rows.', tail);
  end if;
end
$function$;
comment on function _check_log_size is
  'Raises 22023 unless a table''s log has, or had, this size; 42P01 for what is no chained table.';
create function log_root(table_name text, size bigint) returns bytea
language plpgsql stable
set search_path from current
set row_security = off
as $function$
begin
  perform _check_log_size(table_name, size);
  return case size when 0 then sha256('') else _log_subtree(table_name, 0, size) end;
end
$function$;
comment on function log_root is
  'Root of a table''s log when it had size rows (RFC 6962): 32 bytes. Raises 22023 for more rows than there are, '
  'AUD-009 for a missing row.';
create function recompute_log_root(table_name text, size bigint) returns bytea
language plpgsql stable
set search_path from current
set row_security = off
as $function$
begin
  perform _check_log_size(table_name, size);
  return case size when 0 then sha256('') else _log_subtree(table_name, 0, size, use_stored => false) end;
end
$function$;
comment on function recompute_log_root is
  'The same as log_root, from the rows alone: stored nodes are looked at only where rows are archived.';
create function recompute_block_roots(table_name text, from_id bigint, to_id bigint) returns bytea
language plpgsql stable
set search_path from current
set row_security = off
as $function$
begin
  perform _check_log_size(table_name, to_id);
  if from_id is null or from_id not between 1 and to_id or from_id % 256 <> 1 then
    raise exception 'rows % to % of % are no blocks', coalesce(from_id::text, 'NULL'), to_id, table_name
      using errcode = '22023', hint = 'Begin with the first row of a block of 256: 1, 257, 513 and so on.';
  end if;
  return _log_level(table_name, 8, from_id - 1, to_id, use_stored => false);
end
$function$;
comment on function recompute_block_roots is
  'The root over each block of 256 rows from from_id to to_id, from the rows alone, 32 bytes each, concatenated; the '
  'last block may end before its 256th row. Over all of them the root of the log follows, so ranges can be recomputed '
  'side by side.';
create function inclusion_proof(table_name text, id bigint, size bigint) returns bytea[]
language plpgsql stable
set search_path from current
set row_security = off
as $function$
declare
  height  integer := 0;
  place   bigint  := id - 1;  -- of the row, then of the node over it, among those of its height
  first   bigint;
  proof   bytea[] := '{}';
begin
  perform _check_log_size(table_name, size);
  if id is null or id not between 1 and size then
    raise exception 'row % of % is not among the first %', coalesce(id::text, 'NULL'), table_name, size
      using errcode = '22023', hint = 'Give an id from 1 to the size.';
  end if;
  -- Eight steps up at a time, among the 256 nodes at most that share the next node that could be stored. The one on the
  -- way is no part of the proof, so it is not computed again.
  loop
    first := place >> 8 << 8;
    proof := proof || _merkle_path(_log_level(table_name, height, first << height, least(first + 256 << height, size),
                                              use_stored => true, own => place), (place - first)::integer);
    height := height + 8;
    place := place >> 8;
    exit when size - 1 >> height = 0;
  end loop;
  return proof;
end
$function$;
comment on function inclusion_proof is
  'PATH of RFC 6962: with these hashes a row gives the root of size rows, see verify_inclusion. Raises 22023, and '
  'AUD-009 for a missing row.';
create function _consistency_ranges(size1 bigint, size2 bigint)
returns table (step integer, first bigint, last bigint)
language plpgsql immutable parallel safe
set search_path from current
as $function$
declare
  low     bigint := 0;
  middle  bigint;
  high    bigint := size2;
begin
  step := 0;
  -- From the root of the larger tree down to the subtree that ends where the smaller tree ends. The subtrees that this
  -- way leaves aside are the proof.
  while high <> size1 loop
    step := step + 1;
    -- RFC 6962 splits at the largest power of two that is smaller than the number of leaves.
    middle := low + (1::bigint << (64 - position(b'1' in (high - low - 1)::bit(64))));
    if size1 <= middle then
      first := middle;
      last := high;
      high := middle;
    else
      first := low;
      last := middle;
      low := middle;
    end if;
    return next;
  end loop;
  -- And that subtree, unless it is the whole smaller tree, whose root is known.
  if low > 0 then
    step := step + 1;
    first := low;
    last := high;
    return next;
  end if;
end
$function$;
comment on function _consistency_ranges is
  'Over which leaves, first to last - 1, the hashes of a consistency proof stand, from the top down; size1 is 1 or '
  'more.';
create function consistency_proof(table_name text, size1 bigint, size2 bigint) returns bytea[]
language plpgsql stable
set search_path from current
set row_security = off
as $function$
begin
  perform _check_log_size(table_name, size2);
  if size1 is null or size1 not between 0 and size2 then
    raise exception 'a log of % rows was never one of %', size2, coalesce(size1::text, 'NULL')
      using errcode = '22023', hint = 'Give a first size from 0 to the second.';
  end if;
  if size1 = 0 then
    return '{}';  -- every log begins with the empty one
  end if;
  return (select coalesce(array_agg(_log_subtree(consistency_proof.table_name, r.first, r.last)
                                    order by r.step desc), '{}')
          from _consistency_ranges(size1, size2) as r);
end
$function$;
comment on function consistency_proof is
  'PROOF of RFC 6962: with these hashes the roots of size1 and size2 rows show that the first are still there '
  'unchanged, see verify_consistency. Raises 22023, and AUD-009 for a missing row.';

-- sql/13_merkle/verify.sql

-- Checking proofs, and the stored nodes
--
-- verify_inclusion and verify_consistency read no table: they can be called in any database. Their variables have the
-- names of RFC 9162 (fn, sn, r, fr, sr). An auditor who does not trust this database checks proofs elsewhere.

create function _is_hashes(hashes bytea[]) returns boolean
language sql immutable parallel safe
set search_path from current
as $function$
  select hashes is not null and coalesce(array_ndims(hashes), 1) = 1
     and not exists (select from unnest(hashes) as h(hash) where length(h.hash) is distinct from 32);
$function$;
comment on function _is_hashes is 'Whether all of these are hashes: a plain array of values of 32 bytes each.';
create function verify_inclusion(leaf_hash bytea, leaf_index bigint, size bigint, proof bytea[], root bytea)
returns boolean
language plpgsql immutable parallel safe
set search_path from current
as $function$
declare
  fn  bigint;  -- the place of the leaf, then of the node above it
  sn  bigint;  -- the place of the last leaf, then of the node above it
  r   bytea;
  p   bytea;
begin
  if leaf_index is null or size is null or leaf_index < 0 or leaf_index >= size
     or not _is_hashes(proof) or not _is_hashes(array[leaf_hash, root]) then
    return false;
  end if;
  -- RFC 9162, 2.1.3.2
  fn := leaf_index;
  sn := size - 1;
  r := leaf_hash;
  foreach p in array proof loop
    if sn = 0 then
      return false;
    end if;
    if fn % 2 = 1 or fn = sn then
      r := sha256(decode('01', 'hex') || p || r);
      while fn % 2 = 0 and fn > 0 loop
        fn := fn >> 1;
        sn := sn >> 1;
      end loop;
    else
      r := sha256(decode('01', 'hex') || r || p);
    end if;
    fn := fn >> 1;
    sn := sn >> 1;
  end loop;
  return sn = 0 and r = root;
end
$function$;
comment on function verify_inclusion is
  'Whether the proof shows the leaf, SHA-256(0x00 || row_hash), at leaf_index (id - 1) of the log with this size and '
  'root. Malformed or null input is false. Never null, never an error.';
create function verify_consistency(size1 bigint, size2 bigint, root1 bytea, root2 bytea, proof bytea[])
returns boolean
language plpgsql immutable parallel safe
set search_path from current
as $function$
declare
  fn    bigint;
  sn    bigint;
  path  bytea[];
  fr    bytea;  -- becomes the first root
  sr    bytea;  -- becomes the second
  c     bytea;
begin
  if size1 is null or size2 is null or size1 < 0 or size1 > size2
     or not _is_hashes(proof) or not _is_hashes(array[root1, root2]) then
    return false;
  end if;
  if size1 = 0 or size1 = size2 then
    return cardinality(proof) = 0 and (size1 > 0 or root1 = sha256('')) and (size1 < size2 or root1 = root2);
  end if;
  -- RFC 9162, 2.1.4.2. A smaller tree that is a complete subtree of the other is not in the proof: its root is known.
  path := case when size1 & (size1 - 1) = 0 then array[root1] else '{}' end || proof;
  if cardinality(path) = 0 then
    return false;
  end if;
  fn := size1 - 1;
  sn := size2 - 1;
  while fn % 2 = 1 loop
    fn := fn >> 1;
    sn := sn >> 1;
  end loop;
  fr := path[1];
  sr := path[1];
  foreach c in array path[2:] loop
    if sn = 0 then
      return false;
    end if;
    if fn % 2 = 1 or fn = sn then
      fr := sha256(decode('01', 'hex') || c || fr);
      sr := sha256(decode('01', 'hex') || c || sr);
      while fn % 2 = 0 and fn > 0 loop
        fn := fn >> 1;
        sn := sn >> 1;
      end loop;
    else
      sr := sha256(decode('01', 'hex') || sr || c);
    end if;
    fn := fn >> 1;
    sn := sn >> 1;
  end loop;
  return sn = 0 and fr = root1 and sr = root2;
end
$function$;
comment on function verify_consistency is
  'Whether the proof shows that the log of size2 rows with root2 begins with the size1 rows whose root is root1. '
  'Malformed or null input is false. Never null, never an error.';
create function find_log_damage(table_name text)
returns table (damaged_table text, level integer, index bigint, stored_hash bytea, computed_hash bytea)
language plpgsql stable
set search_path from current
set row_security = off
as $function$
declare
  start     constant bigint := (_chain_start(table_name)).id;
  unbroken  bigint := _log_unbroken_to(table_name, _log_tail(table_name));
begin
  -- Each node against the level below it, the lowest against the rows: one that is wrong is found where it stands. The
  -- lowest over archived rows have no rows: of those, the root that the agents approved is compared.
  return query
    select n.table_name, n.level, n.index, n.hash, c.hash
    from (select l.* from only log_nodes as l
          where l.table_name = find_log_damage.table_name
            and not (l.level = 8 and (l.index + 1) << l.level <= start)) as n
    cross join lateral (
      select case when n.index < unbroken >> n.level then
        _merkle_root(_log_level(n.table_name, n.level - 8, n.index << n.level, (n.index + 1) << n.level,
                                use_stored => true)) end as hash) as c
    where n.hash is distinct from c.hash
      -- not those that stayed behind when rows were lost and written again
      and not exists (select from only log_nodes as o
                      where o.table_name = n.table_name and o.level = n.level and o.index = n.index
                        and o.last_hash <> n.last_hash
                        and o.last_hash = _log_row_hash(o.table_name, (o.index + 1) << o.level))
    order by n.level, n.index;
  if start = 0 then
    return;
  end if;
  return query
    select a.table_name, 8, (a.through_id >> 8) - 1, log_root(a.table_name, a.through_id), decode(a.root, 'hex')
    from (select s.* from only archived_segments as s  -- made in 16_retention; without it no row left
          where s.table_name = find_log_damage.table_name and s.through_id >= start
          order by s.through_id limit 1) as a
    where encode(log_root(a.table_name, a.through_id), 'hex') <> a.root::text;
end
$function$;
comment on function find_log_damage is
  'Every stored node of a log that the rows do not give, with what they give; null where they are not all there. Over '
  'archived rows the root that the nodes give is compared with the approved one. No row: all nodes are right.';

-- sql/13_merkle/checkpoint.sql

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
perform _grant('select on', '{log_nodes}', '{app_auditor}');
-- The functions below the public ones run with the auditor's rights, too.
perform _grant('execute on routine',
              '{seal_log, seal_logs, log_root, recompute_log_root, recompute_block_roots, inclusion_proof,
                consistency_proof, verify_inclusion, verify_consistency, find_log_damage, guards_hash,
                checkpoint_facts, verify_checkpoint, wal_position,
                _is_hashes, _check_log_size, _consistency_ranges, _log_subtree, _log_level, _log_stored_nodes,
                _log_root_if_any, _log_row_hash, _log_leaves, _refuse_leaves, _log_unbroken_to,
                _log_tail, _merkle_parents, _merkle_root, _merkle_path}', '{app_auditor}');

-- sql/13_merkle/runs.sql

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
perform _chain_attach('checkpoint_runs'), _protect_table('checkpoint_runs', 'AUD-011', 'AUD-011'),
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
perform _grant('select on', '{checkpoint_runs}', '{app_auditor}');
perform _grant('execute on routine', '{record_checkpoint_run}', '{app_auditor}');

-- sql/13_merkle/read.sql

-- What exporters and provers ask: which logs there are, how much of one is not sealed, and one row with its proof.

create function merkle_logs()
returns table (origin text, table_name text, last_id bigint, error_code text, problem text)
language sql stable
set search_path from current
set row_security = off
as $function$
  select format('alpha-db/%s/%s', i.installation_id, c.table_name), c.table_name, coalesce(c.last_id, 0),
         c.error_code, c.problem
  from chain_status() with ordinality
       as c(table_name, last_id, head_hash, last_created_at, error_code, problem, place)
  cross join only installation as i
  order by c.place;
$function$;
comment on function merkle_logs is
  'The Merkle log of each chained table: its name, how many rows it has, and what is wrong with the table, as in '
  'chain_status().';
create function unsealed_rows(table_name text) returns bigint
language sql stable
set search_path from current
set row_security = off
as $function$
  select coalesce(c.last_id, 0) - 256 * (select coalesce(max(n.index) + 1, 0)
                                         from only log_nodes as n
                                         where n.table_name = unsealed_rows.table_name and n.level = 8)
  from chain_status() as c
  where c.table_name = unsealed_rows.table_name;
$function$;
comment on function unsealed_rows is
  'How many rows of a log no stored node covers, so that a proof reads them; null if the table is not chained.';
create function row_to_prove(table_name text, id bigint, size bigint)
returns table (row_data text, row_hash text, previous_hash text, proof bytea[])
language sql stable
set search_path from current
set row_security = off
as $function$
  select r.row_data, r.row_hash,
         case when r.id = s.id + 1 then s.row_hash
              else (select p.row_hash from chain_rows(row_to_prove.table_name, r.id - 1, r.id - 1) as p) end,
         inclusion_proof(row_to_prove.table_name, r.id, size)
  from chain_rows(row_to_prove.table_name, row_to_prove.id, row_to_prove.id) as r
  cross join _chain_start(row_to_prove.table_name) as s;
$function$;
comment on function row_to_prove is
  'A row as it was hashed, the hash before it, and its inclusion proof in the log of that size; no row if it is not '
  'there.';
perform _grant('execute on routine', '{merkle_logs, unsealed_rows, row_to_prove}', '{app_auditor}');

perform _finish_migration('006_checkpoints');
end
$migration$;
