-- Verifying (docs/chain-format.md, "Verdicts")

create type chain_verdict as (
  table_name     text,
  rows_checked   bigint,
  first_id       bigint,
  last_id        bigint,
  is_valid       boolean,
  error_code     text,
  verdict        text,
  broken_id      bigint,
  expected_hash  text,
  actual_hash    text,
  detail         text
);
comment on type chain_verdict is 'What verify_chain_integrity found in one table.';
comment on column chain_verdict.table_name    is 'The chained table.';
comment on column chain_verdict.rows_checked  is 'How many rows were read and recomputed.';
comment on column chain_verdict.first_id      is 'First row that was checked.';
comment on column chain_verdict.last_id       is 'Last row that was checked.';
comment on column chain_verdict.is_valid      is 'True: intact or acknowledged. False: damage or changed guards. Null: could not be checked, or is not there.';
comment on column chain_verdict.error_code    is 'AUD-009 for damage, AUD-011 for changed guards, otherwise null.';
comment on column chain_verdict.verdict       is 'intact, content_mismatch, missing_rows, tail_missing, order_violation, table_missing, checkpoint_mismatch, consensus_mismatch, guard_changed, acknowledged, not_there or not_run.';
comment on column chain_verdict.broken_id     is 'First damaged or missing row; null if the table itself is gone.';
comment on column chain_verdict.expected_hash is 'The hash that the row''s content and its predecessor give; of the row behind missing ones the hash of its content alone; null if there is no row.';
comment on column chain_verdict.actual_hash   is 'The hash that is stored; for missing rows that of the row behind the gap.';
comment on column chain_verdict.detail        is 'What was found, in words.';

create function _chain_links_sql(table_name text) returns text
language sql stable
set search_path from current
as $function$
  -- One pass in id order with the row before at hand. $1 and $2 bound the ids, $3 is the genesis.
  -- A forged hash need not be hex: decode must not fail on it. Where no hash covers a row (its predecessor is not there, or a
  -- column that was added later was edited) it gives the hash of its content alone: that fits no stored hash, but it tells a later edit from
  -- what a release acknowledged.
  select format($query$
    select l.id, l.previous_id, l.row_hash as actual_hash,
      case when l.altered is null and (l.id = 1 or l.id > 1 and l.previous_id = l.id - 1) then
        encode(sha256(
          case when l.id = 1 and coalesce(l.previous_id, 0) < 1 then decode($3, 'hex')
               when l.previous_hash ~ '^[0-9a-f]{64}$' then decode(l.previous_hash, 'hex')
               else convert_to(coalesce(l.previous_hash, ''), 'UTF8') end
          || convert_to(l.row_data, 'UTF8')), 'hex')
        else encode(sha256(convert_to(coalesce(l.altered, l.row_data), 'UTF8')), 'hex') end as expected_hash,
      coalesce(l.created_at < l.previous_created_at or not isfinite(l.created_at), l.created_at is null) as goes_back,
      l.older_values_hold
    from (
      select r.*, lag(r.id) over w as previous_id, lag(r.row_hash) over w as previous_hash, lag(r.created_at) over w as previous_created_at
      from (%s) as r
      -- from the row before the range, whatever its id
      where r.id >= coalesce((select max(b.id) from only %I as b where b.id < $1), $1) and r.id <= $2
      window w as (order by r.id)
    ) as l
    where l.id >= $1
  $query$, chain_rows_sql(_chain_links_sql.table_name), _chain_links_sql.table_name);
$function$;
comment on function _chain_links_sql is 'Text of the query that recomputes every hash of a chain from the row and its predecessor.';

create function _chain_places_sql(table_name text) returns text
language sql stable
set search_path from current
as $function$
  select format($query$
    select k.id as at_id,
      case when k.verdict = 'missing_rows' then coalesce(k.previous_id + 1, 1) else k.id end as id,
      k.verdict,
      k.expected_hash, k.actual_hash,  -- of missing rows: those of the row behind the gap, so that a gap that grows is another place
      case k.verdict
        when 'missing_rows' then format('rows %%s to %%s are missing', coalesce(k.previous_id + 1, 1), k.id - 1)
        when 'order_violation' then format('row %%s is older than the row before it, or has no time', k.id)
        when 'content_mismatch' then case
          when k.id < 1 then format('row %%s stands before the first', k.id)
          when k.previous_id >= k.id then format('id %%s stands twice', k.id)
          when not k.older_values_hold then format('row %%s was changed in a column that was added after it', k.id)
          else format('row %%s or its link does not give its hash', k.id) end end as detail
    from (
      select n.*, case
        when n.id < 1 or n.previous_id >= n.id then 'content_mismatch'
        when n.id > 1 and n.previous_id is distinct from n.id - 1 then 'missing_rows'
        when n.actual_hash is distinct from n.expected_hash or not n.older_values_hold then 'content_mismatch'
        when n.goes_back then 'order_violation' end as verdict
      from (%s) as n
    ) as k
  $query$, _chain_links_sql(_chain_places_sql.table_name));
$function$;
comment on function _chain_places_sql is 'Text of the query that judges every row of a chain; verdict is null where nothing is wrong.';
