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
