-- Signals: what the outside world asked for
--
-- The audit log has five tables, one file each: a webhook is delivered (webhook_deliveries), a signal is read from it,
-- models debate it (ai_debates), an order is sent (order_execution), and things happen to the order (order_events). All
-- of them are append-only and hash-chained: the database assigns id, created_at, recorded_by and row_hash, whatever a
-- writer supplies. Their triggers (validate.sql, attach.sql) follow in migration 003, after 08_lockdown/events.sql to
-- writers.sql, because they need the lockdown.
--
-- A new column: until manifest.toml says that 002 is released, edit the CREATE TABLE (recorded_by stays last). Once it
-- is released, a new migration adds the column and calls chain_extend. What else it touches: 09_write/record.sql.

create table signals (
  id              bigserial      not null,
  correlation_id  uuid           not null,
  signal_id       varchar(64)    not null,
  symbol          varchar(20)    not null,
  side            varchar(10)    not null,
  price           decimal_28_10  not null,
  quantity        decimal_28_10  not null,
  raw_payload     jsonb          not null,
  source_ip       inet           null,
  hmac_verified   boolean        not null  default false,
  delivery_id     bigint         null,
  row_hash        char(64)       not null,
  created_at      timestamptz    not null,
  recorded_by     text           not null,
  constraint signals_pkey primary key (id),
  constraint signals_correlation_id_key unique (correlation_id),
  constraint signals_signal_id_key unique (signal_id),
  constraint signals_delivery_id_fkey foreign key (delivery_id) references webhook_deliveries (id),
  constraint signals_signal_id_is_given check (btrim(signal_id::text) <> ''::text),
  constraint signals_symbol_is_given check (btrim(symbol::text) <> ''::text),
  constraint signals_side_is_known check (side::text = any (array['BUY'::text, 'SELL'::text])),
  constraint signals_price_is_positive check (price > 0),
  constraint signals_quantity_is_positive check (quantity > 0)
);
select _default_uuid('signals', 'correlation_id');
create index signals_created_at_idx on signals (created_at);
create index signals_delivery_id_idx on signals (delivery_id);
comment on table  signals                is 'Signals as they arrived, one row each. Append-only, hash-chained.';
comment on column signals.id             is 'Position in the chain: assigned under its lock, first 1, no gaps.';
comment on column signals.correlation_id is 'What debates and orders refer to. Generated, or kept if given.';
comment on column signals.signal_id      is 'The sender''s idempotency key.';
comment on column signals.symbol         is 'Instrument, as the sender names it.';
comment on column signals.side           is 'BUY or SELL.';
comment on column signals.price          is 'Price of the alert, exact.';
comment on column signals.quantity       is 'Quantity of the alert, exact.';
comment on column signals.raw_payload    is 'The webhook''s body, as JSON.';
comment on column signals.source_ip      is 'Address that the webhook came from.';
comment on column signals.hmac_verified is
  'Whether the application verified the webhook''s HMAC; recorded here, not checked here.';
comment on column signals.delivery_id    is 'The delivery that the signal was read from.';
comment on column signals.row_hash       is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column signals.created_at is
  'When the row was written, by the server''s clock under the chain''s lock. Never decreases.';
comment on column signals.recorded_by    is 'The login that wrote the row.';
