-- Order events: what became of an order, and the kill switch

create table order_events (
  id                   bigserial      not null,
  order_execution_id   bigint         null,
  event_type           varchar(30)    not null,
  fill_quantity        decimal_28_10  null,
  fill_price           decimal_28_10  null,
  zar_equity           decimal_28_2   null,
  positions_closed     jsonb          null,
  rejection_reason     text           null,
  exchange_error_code  varchar(50)    null,
  exchange_event_id    varchar(64)    null,
  exchange_status      text           null,
  row_hash             char(64)       not null,
  created_at           timestamptz    not null,
  recorded_by          text           not null,
  constraint order_events_pkey primary key (id),
  constraint order_events_order_execution_id_fkey foreign key (order_execution_id) references order_execution (id),
  constraint order_events_event_type_is_known check (
    event_type::text = any (array['FILL'::text, 'PARTIAL_FILL'::text, 'REJECTED'::text, 'CANCELLED'::text,
                                  'KILL_SWITCH'::text, 'EXPIRED'::text, 'ACKNOWLEDGED'::text, 'REPLACED'::text,
                                  'TRIGGERED'::text, 'LIQUIDATION'::text])),
  constraint order_events_order_is_given check (
    order_execution_id is not null or event_type::text = any (array['KILL_SWITCH'::text, 'LIQUIDATION'::text])),
  constraint order_events_exchange_event_id_is_given check (btrim(exchange_event_id::text) <> ''::text),
  constraint order_events_fill_quantity_is_positive check (fill_quantity > 0),
  constraint order_events_fill_price_is_positive check (fill_price > 0),
  constraint order_events_positions_closed_is_array check (jsonb_typeof(positions_closed) = 'array'::text),
  constraint order_events_fill_is_complete check (
    not (event_type::text = any (array['FILL'::text, 'PARTIAL_FILL'::text]))
    or fill_quantity is not null and fill_price is not null),
  constraint order_events_kill_switch_is_complete check (event_type::text <> 'KILL_SWITCH'::text
    or zar_equity is not null and positions_closed is not null),
  constraint order_events_rejection_has_reason check (event_type::text <> 'REJECTED'::text
    or rejection_reason is not null and btrim(rejection_reason) <> ''::text)
);
create index order_events_order_execution_id_idx on order_events (order_execution_id);
-- Events without an order have exchange_event_id as their key among themselves: no order has the id 0.
create unique index order_events_exchange_event_id_key on order_events
  (coalesce(order_execution_id, 0::bigint), exchange_event_id) where exchange_event_id is not null;
create index order_events_created_at_idx on order_events (created_at);
comment on table order_events is
  'What became of an order, and the kill switch. Append-only, hash-chained; open also in a lockdown.';
comment on column order_events.id is
  'Position in the chain: assigned under its lock, first 1, no gaps.';
comment on column order_events.order_execution_id  is
  'The order; null only for a KILL_SWITCH or a LIQUIDATION without an order of ours.';
comment on column order_events.event_type is
  'ACKNOWLEDGED, TRIGGERED, PARTIAL_FILL, FILL, REPLACED, CANCELLED, EXPIRED, REJECTED, LIQUIDATION or KILL_SWITCH.';
comment on column order_events.fill_quantity       is 'Quantity filled, exact; a fill has one.';
comment on column order_events.fill_price          is 'Price of the fill, exact; a fill has one.';
comment on column order_events.zar_equity          is 'Account equity in rand at this moment; a KILL_SWITCH has one.';
comment on column order_events.positions_closed    is 'The positions that a KILL_SWITCH closed, an array.';
comment on column order_events.rejection_reason    is 'Why the exchange refused; a REJECTED has one.';
comment on column order_events.exchange_error_code is 'The exchange''s code for it.';
comment on column order_events.exchange_event_id   is
  'The exchange''s id of the event, such as a trade id: the idempotency key among the events of one order.';
comment on column order_events.exchange_status     is 'The exchange''s own word for what happened.';
comment on column order_events.row_hash            is 'SHA-256 of the previous row_hash and this row, in hex.';
comment on column order_events.created_at is
  'When the row was written, by the server''s clock under the chain''s lock. Never decreases.';
comment on column order_events.recorded_by         is 'The login that wrote the row.';
