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

select _create_at_home($template$
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
