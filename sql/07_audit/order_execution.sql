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
  client_order_id    varchar(64)    null,
  stop_price         decimal_28_10  null,
  decision_maker     varchar(100)   null,
  exchange_status    text           null,
  row_hash           char(64)       not null,
  created_at         timestamptz    not null,
  recorded_by        text           not null,
  constraint order_execution_pkey primary key (id),
  constraint order_execution_client_order_id_key unique (client_order_id, status),
  constraint order_execution_correlation_id_fkey foreign key (correlation_id) references signals (correlation_id),
  constraint order_execution_order_type_is_known check (
    order_type::text = any (array['MARKET'::text, 'LIMIT'::text, 'STOP'::text, 'STOP_LIMIT'::text,
                                  'TAKE_PROFIT'::text, 'TAKE_PROFIT_LIMIT'::text, 'TRAILING_STOP'::text])),
  constraint order_execution_symbol_is_given check (btrim(symbol::text) <> ''::text),
  constraint order_execution_side_is_known check (side::text = any (array['BUY'::text, 'SELL'::text])),
  constraint order_execution_quantity_is_positive check (quantity > 0),
  constraint order_execution_price_is_positive check (price > 0),
  constraint order_execution_stop_price_is_positive check (stop_price > 0),
  constraint order_execution_market_has_no_price check (order_type::text <> 'MARKET'::text or price is null),
  constraint order_execution_limit_has_price check (
    not (order_type::text = any (array['LIMIT'::text, 'STOP_LIMIT'::text, 'TAKE_PROFIT_LIMIT'::text]))
    or price is not null),
  constraint order_execution_stop_has_price check (
    not (order_type::text = any (array['STOP'::text, 'TAKE_PROFIT'::text]))
    or price is not null or stop_price is not null),
  constraint order_execution_only_stop_has_stop_price check (
    not (order_type::text = any (array['MARKET'::text, 'LIMIT'::text])) or stop_price is null),
  constraint order_execution_client_order_id_is_given check (btrim(client_order_id::text) <> ''::text),
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
comment on column order_execution.order_type        is
  'MARKET, LIMIT, STOP, STOP_LIMIT, TAKE_PROFIT, TAKE_PROFIT_LIMIT or TRAILING_STOP.';
comment on column order_execution.symbol            is 'Instrument.';
comment on column order_execution.side              is 'BUY or SELL.';
comment on column order_execution.quantity          is 'Quantity ordered, exact.';
comment on column order_execution.price             is
  'Limit price, exact; of a STOP or TAKE_PROFIT without stop_price the price that triggers it. A MARKET has none.';
comment on column order_execution.exchange_order_id is 'The exchange''s id of the order, once it has one.';
comment on column order_execution.status            is 'Status at submission; the life after it is in order_events.';
comment on column order_execution.client_order_id   is
  'The id that the application gave the order: its idempotency key, together with status.';
comment on column order_execution.stop_price        is 'Price that triggers the order, exact.';
comment on column order_execution.decision_maker    is 'The person or algorithm that is responsible for the order.';
comment on column order_execution.exchange_status   is 'The exchange''s own word for the status.';
comment on column order_execution.row_hash          is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column order_execution.created_at is
  'When the row was written, by the server''s clock under the chain''s lock. Never decreases.';
comment on column order_execution.recorded_by       is 'The login that wrote the row.';
