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
