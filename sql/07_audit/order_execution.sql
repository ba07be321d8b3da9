-- Orders: recorded before they are sent, and again once the exchange has given them its id

create table order_execution (
  id                 bigserial      not null,
  correlation_id     uuid           not null,
  order_type         varchar(20)    not null,
  symbol             varchar(20)    not null,
  side               varchar(10)    not null,
  quantity           decimal_28_10  not null,
  price              decimal_28_10  null,
  exchange_order_id  varchar(64)    null,
  status             varchar(20)    not null  default 'PENDING',
  row_hash           char(64)       not null,
  created_at         timestamptz    not null,
  recorded_by        text           not null,
  constraint order_execution_pkey primary key (id),
  constraint order_execution_correlation_id_fkey foreign key (correlation_id) references signals (correlation_id),
  constraint order_execution_order_type_is_known check (
    order_type::text = any (array['MARKET'::text, 'LIMIT'::text, 'STOP'::text, 'STOP_LIMIT'::text])),
  constraint order_execution_symbol_is_given check (btrim(symbol::text) <> ''::text),
  constraint order_execution_side_is_known check (side::text = any (array['BUY'::text, 'SELL'::text])),
  constraint order_execution_quantity_is_positive check (quantity > 0),
  constraint order_execution_price_is_positive check (price > 0),
  constraint order_execution_market_has_no_price check ((order_type::text = 'MARKET'::text) = (price is null)),
  constraint order_execution_status_is_known check (
    status::text = any (array['PENDING'::text, 'SUBMITTED'::text, 'PARTIALLY_FILLED'::text, 'FILLED'::text,
                              'CANCELLED'::text, 'REJECTED'::text, 'EXPIRED'::text]))
);
create index order_execution_correlation_id_idx on order_execution (correlation_id);
create index order_execution_created_at_idx on order_execution (created_at);
comment on table order_execution is
  'Orders: recorded PENDING before they are sent, and again with their exchange_order_id. Append-only, hash-chained.';
comment on column order_execution.id is
  'Position in the chain: assigned under its lock, first 1, no gaps.';
comment on column order_execution.correlation_id    is 'The signal that led to the order.';
comment on column order_execution.order_type        is 'MARKET, LIMIT, STOP or STOP_LIMIT.';
comment on column order_execution.symbol            is 'Instrument.';
comment on column order_execution.side              is 'BUY or SELL.';
comment on column order_execution.quantity          is 'Quantity ordered, exact.';
comment on column order_execution.price             is 'Limit or stop price, exact; null exactly for MARKET.';
comment on column order_execution.exchange_order_id is 'The exchange''s id of the order, once it has one.';
comment on column order_execution.status            is 'Status at submission; the life after it is in order_events.';
comment on column order_execution.row_hash          is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column order_execution.created_at is
  'When the row was written, by the server''s clock under the chain''s lock. Never decreases.';
comment on column order_execution.recorded_by       is 'The login that wrote the row.';
