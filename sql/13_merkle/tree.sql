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
