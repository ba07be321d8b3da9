-- Procedures that make many rows durable at once: the twins of many.sql, as append.sql has them of record.sql
--
-- They return where each row stands, its key and whether it is new, not what it holds: 100 large rows would be an
-- answer that no client can read.

select _create_append('record_signals', $template$
create procedure append_signals(signals jsonb, inout results jsonb default null)
language plpgsql
as $procedure$
declare
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
           'id', r.id, 'correlation_id', r.correlation_id, 'signal_id', r.signal_id,
           'row_hash', r.row_hash, 'is_new', r.is_new)), '[]')
  into results
  from {home:I}.record_signals(signals) as r;
{end:s}
end
$procedure$;
$template$);
comment on procedure append_signals is
  'Records signals as record_signals does, and returns where their rows stand once all are on disk. Raises '
  '2D000 inside a transaction.';

select _create_append('record_ai_debates', $template$
create procedure append_ai_debates(ai_debates jsonb, inout results jsonb default null)
language plpgsql
as $procedure$
declare
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
           'id', r.id, 'correlation_id', r.correlation_id, 'row_hash', r.row_hash, 'is_new', r.is_new)), '[]')
  into results
  from {home:I}.record_ai_debates(ai_debates) as r;
{end:s}
end
$procedure$;
$template$);
comment on procedure append_ai_debates is
  'Records debates as record_ai_debates does, and returns where their rows stand once all are on disk. Raises '
  '2D000 inside a transaction.';

select _create_append('record_orders', $template$
create procedure append_orders(orders jsonb, inout results jsonb default null)
language plpgsql
as $procedure$
declare
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
           'id', r.id, 'correlation_id', r.correlation_id, 'client_order_id', r.client_order_id,
           'row_hash', r.row_hash, 'is_new', r.is_new)), '[]')
  into results
  from {home:I}.record_orders(orders) as r;
{end:s}
end
$procedure$;
$template$);
comment on procedure append_orders is
  'Records orders as record_orders does, and returns where their rows stand once all are on disk. Raises '
  '2D000 inside a transaction.';

select _create_append('record_order_events', $template$
create procedure append_order_events(order_events jsonb, inout results jsonb default null)
language plpgsql
as $procedure$
declare
  message  pg_catalog.pg_lsn;
begin
{begin:s}
  select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
           'id', r.id, 'order_execution_id', r.order_execution_id, 'exchange_event_id', r.exchange_event_id,
           'row_hash', r.row_hash, 'is_new', r.is_new)), '[]')
  into results
  from {home:I}.record_order_events(order_events) as r;
{end:s}
end
$procedure$;
$template$);
comment on procedure append_order_events is
  'Records events as record_order_events does, and returns where their rows stand once all are on disk. Raises '
  '2D000 inside a transaction.';
