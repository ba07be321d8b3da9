-- How verification stays set-based
--
-- A row holds if three things fit. Its row_hash is SHA-256 over the row_hash that the row before it stores and its own
-- row_data. Its id is one more than that of the row before. Its time is not earlier. All three compare *stored* values
-- of two neighbours; no hash that was computed on the way is needed further on. So no loop carries a value from row to
-- row: one query with lag() over the primary key reads the rows in id order, hashes each once, and keeps nothing. A
-- range can be verified by itself, from the stored hash of the row before it, and many ranges at the same time. A row
-- that was edited does not give its stored hash any more; the row after it still fits to that stored hash.
--
-- Three queries, each a text made for the table, because its columns differ:
--
--   _chain_check_sql   one pass that only counts the rows and those that do not hold: all that an intact chain costs
--   _chain_links_sql   for each row the stored hash, the hash that it should have, and what its predecessor holds
--   _chain_places_sql  on top of it, for each row the verdict; read only when the first pass counted something
--
-- All take row_data from chain_rows_sql (04_chain), which prints each row with the columns that it was hashed with.
-- Functions that run them pin the settings by which PostgreSQL prints values (TimeZone and so on), and switch off the
-- plans that would read the table in another order and sort it on disk.
--
-- What verification sees of work that is going on. Each pass has one snapshot. Rows are committed in the order of their
-- ids, because a writer holds the chain's lock until its transaction ends. So a snapshot shows a chain without gaps up
-- to some row, and is verified as that; rows of an open or prepared transaction are not in it yet. A rollback, also to
-- a savepoint, leaves no gap: the id of the next row is the last stored one plus one. A crash leaves the rows that were
-- committed. On a standby, or after a dump, the rows print the same text, so the same hashes fit.
--
-- What no recomputation shows: an end that was cut off, and a chain that was hashed again to its end. Recorded runs
-- (compare.sql) and checkpoints (13_merkle) find those.

create function _chain_check_sql(table_name text) returns text
language sql stable
set search_path from current
as $function$
  -- $1 and $2 bound the ids; $3, $4 and $5 are hash, id and time of the row before the first.
  -- It fails (22023) on a hash that is not hex; then _chain_places_sql looks closer.
  -- "limit all" has a row printed before the window keeps it, so that it keeps one value instead of all columns. If
  -- client_encoding is UTF8, json_send gives what convert_to(row_data, 'UTF8') gives, and saves three copies.
  select _fill($query$
    select count(*), min(l.id), max(l.id), count(*) filter (where l.holds is not true), max(l.created_at)
    from (
      select r.id, r.created_at,
        r.row_hash = encode(sha256(decode(lag(r.row_hash, 1, $3) over w, 'hex') || r.row_bytes), 'hex')
        and r.id = lag(r.id, 1, $4) over w + 1
        and r.created_at >= lag(r.created_at, 1, $5) over w and isfinite(r.created_at)
        and r.older_values_hold as holds
      from (
        select n.id, n.created_at, n.row_hash, n.older_values_hold, json_send(n.row_json) as row_bytes
        from ({rows:s}) as n
        where n.id between $1 and $2
        order by n.id limit all
      ) as r
      window w as (order by r.id)
    ) as l
  $query$, 'rows', chain_rows_sql(_chain_check_sql.table_name));
$function$;
comment on function _chain_check_sql is
  'Text of the query that counts the rows of a chain and those among them that do not hold, and finds the latest time; '
  'it needs client_encoding UTF8.';

create function _chain_links_sql(table_name text) returns text
language sql stable
set search_path from current
as $function$
  -- $1 and $2 bound the ids; $3, $4 and $5 are hash, id and time of what the chain starts behind (_proven_start).
  -- A forged hash need not be hex: decode must not fail on it. Where no hash covers a row (its predecessor is not
  -- there, or a column that was added later was edited), expected_hash is that of its content alone. That fits no
  -- stored hash, but it tells a later edit from what a release acknowledged.
  select _fill($query$
    select l.id, l.previous_id, l.row_hash as actual_hash,
      case when l.altered is null and (l.id = $4 + 1 or l.id > $4 + 1 and l.previous_id = l.id - 1) then
        encode(sha256(
          case when l.id = $4 + 1 and coalesce(l.previous_id, $4) <= $4 then decode($3, 'hex')
               when l.previous_hash ~ '^[0-9a-f]{64}$' then decode(l.previous_hash, 'hex')
               else convert_to(coalesce(l.previous_hash, ''), 'UTF8') end
          || convert_to(l.row_data, 'UTF8')), 'hex')
        else encode(sha256(convert_to(coalesce(l.altered, l.row_data), 'UTF8')), 'hex') end as expected_hash,
      coalesce(l.created_at < l.previous_created_at or not isfinite(l.created_at), l.created_at is null) as goes_back,
      l.older_values_hold
    from (
      select r.*, lag(r.id) over w as previous_id, lag(r.row_hash) over w as previous_hash,
             lag(r.created_at, 1, $5) over w as previous_created_at
      from ({rows:s}) as r
      -- from the row before the range, whatever its id
      where r.id >= coalesce((select max(b.id) from only {table:I} as b where b.id < $1), $1) and r.id <= $2
      window w as (order by r.id)
    ) as l
    where l.id >= $1
  $query$, 'rows', chain_rows_sql(_chain_links_sql.table_name), 'table', _chain_links_sql.table_name);
$function$;
comment on function _chain_links_sql is
  'Text of the query that recomputes every hash of a chain from the row and its predecessor.';

create function _chain_places_sql(table_name text) returns text
language sql stable
set search_path from current
as $function$
  select _fill($query$
    select k.id as at_id,
      case when k.verdict = 'missing_rows' then k.missing_from else k.id end as id,
      k.verdict,
      -- Of missing rows, those of the row after the gap, so that a gap that grows is another place.
      k.expected_hash, k.actual_hash,
      case k.verdict
        when 'missing_rows' then format('rows %s to %s are missing', k.missing_from, k.id - 1)
        when 'order_violation' then format('row %s is older than the row before it, or has no time', k.id)
        when 'content_mismatch' then case
          when k.id <= $4 then format('row %s stands before the first', k.id)
          when k.previous_id >= k.id then format('id %s stands twice', k.id)
          when not k.older_values_hold then format('row %s was changed in a column that was added after it', k.id)
          else format('row %s or its link does not give its hash', k.id) end end as detail
    from (
      select n.*, greatest(n.previous_id, $4) + 1 as missing_from, case
        when n.id <= $4 or n.previous_id >= n.id then 'content_mismatch'
        when n.id > $4 + 1 and n.previous_id is distinct from n.id - 1 then 'missing_rows'
        when n.actual_hash is distinct from n.expected_hash or not n.older_values_hold then 'content_mismatch'
        when n.goes_back then 'order_violation' end as verdict
      from ({links:s}) as n
    ) as k
  $query$, 'links', _chain_links_sql(_chain_places_sql.table_name));
$function$;
comment on function _chain_places_sql is
  'Text of the query that judges every row of a chain; verdict is null where nothing is wrong.';
