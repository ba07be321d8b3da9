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

select _protect_table('log_nodes', 'AUD-011', 'AUD-011'), _owner_only('log_nodes', 'AUD-011');

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
