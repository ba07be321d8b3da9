create function _is_hashes(hashes bytea[]) returns boolean
language sql immutable parallel safe
set search_path from current
as $function$
  select hashes is not null and coalesce(array_ndims(hashes), 1) = 1
     and not exists (select from unnest(hashes) as h(hash) where length(h.hash) is distinct from 32);
$function$;
comment on function _is_hashes is 'Whether all of these are hashes: a plain array of values of 32 bytes each.';

create function verify_inclusion(leaf_hash bytea, leaf_index bigint, size bigint, proof bytea[], root bytea) returns boolean
language plpgsql immutable parallel safe
set search_path from current
as $function$
declare
  place    bigint;
  last     bigint;
  hash     bytea := leaf_hash;
  sibling  bytea;
begin
  if leaf_index is null or size is null or leaf_index < 0 or leaf_index >= size
     or not _is_hashes(proof) or not _is_hashes(array[leaf_hash, root]) then
    return false;
  end if;
  -- RFC 9162, 2.1.3.2
  place := leaf_index;
  last := size - 1;
  foreach sibling in array proof loop
    if last = 0 then
      return false;
    end if;
    if place % 2 = 1 or place = last then
      hash := sha256(decode('01', 'hex') || sibling || hash);
      while place % 2 = 0 and place > 0 loop
        place := place >> 1;
        last := last >> 1;
      end loop;
    else
      hash := sha256(decode('01', 'hex') || hash || sibling);
    end if;
    place := place >> 1;
    last := last >> 1;
  end loop;
  return last = 0 and hash = root;
end
$function$;
comment on function verify_inclusion is
  'Whether the proof shows the leaf, SHA-256(0x00 || row_hash), at leaf_index (id - 1) of the log with this size and '
  'root. Malformed or null input is false. Never null, never an error.';

create function verify_consistency(size1 bigint, size2 bigint, root1 bytea, root2 bytea, proof bytea[]) returns boolean
language plpgsql immutable parallel safe
set search_path from current
as $function$
declare
  place    bigint;
  last     bigint;
  hashes   bytea[];
  hash1    bytea;
  hash2    bytea;
  sibling  bytea;
begin
  if size1 is null or size2 is null or size1 < 0 or size1 > size2 or not _is_hashes(proof) or not _is_hashes(array[root1, root2]) then
    return false;
  end if;
  if size1 = 0 or size1 = size2 then
    return cardinality(proof) = 0 and (size1 > 0 or root1 = sha256('')) and (size1 < size2 or root1 = root2);
  end if;
  -- RFC 9162, 2.1.4.2. A smaller tree that is a complete subtree of the other is not in the proof: its root is known.
  hashes := case when size1 & (size1 - 1) = 0 then array[root1] else '{}' end || proof;
  if cardinality(hashes) = 0 then
    return false;
  end if;
  place := size1 - 1;
  last := size2 - 1;
  while place % 2 = 1 loop
    place := place >> 1;
    last := last >> 1;
  end loop;
  hash1 := hashes[1];
  hash2 := hashes[1];
  foreach sibling in array hashes[2:] loop
    if last = 0 then
      return false;
    end if;
    if place % 2 = 1 or place = last then
      hash1 := sha256(decode('01', 'hex') || sibling || hash1);
      hash2 := sha256(decode('01', 'hex') || sibling || hash2);
      while place % 2 = 0 and place > 0 loop
        place := place >> 1;
        last := last >> 1;
      end loop;
    else
      hash2 := sha256(decode('01', 'hex') || hash2 || sibling);
    end if;
    place := place >> 1;
    last := last >> 1;
  end loop;
  return last = 0 and hash1 = root1 and hash2 = root2;
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
  unbroken bigint := _log_unbroken_to(table_name, _log_tail(table_name));
begin
  -- Each node against the level below it, the lowest against the rows: one that is wrong is found where it stands.
  return query
    select n.table_name, n.level, n.index, n.hash, c.hash
    from only log_nodes as n
    cross join lateral (
      select case when n.index < unbroken >> n.level then
        _merkle_root(_log_level(n.table_name, n.level - 8, n.index << n.level, (n.index + 1) << n.level, true)) end as hash) as c
    where n.table_name = find_log_damage.table_name and n.hash is distinct from c.hash
      -- not those that rows lost and written anew have left behind
      and not exists (select from only log_nodes as o
                      where o.table_name = n.table_name and o.level = n.level and o.index = n.index and o.last_hash <> n.last_hash
                        and o.last_hash = _log_row_hash(o.table_name, (o.index + 1) << o.level))
    order by n.level, n.index;
end
$function$;
comment on function find_log_damage is
  'Every stored node of a log that the rows do not give, with what they give; null where they are not all there. No '
  'row: all nodes are right.';
