-- Which order stands on which decision, and which orders stand on none
--
-- The rules, in plain words:
--
--   1. The order path decides, records the decision, records the order, and only then sends it. So an order stands on
--      the latest decision about the same signal, symbol and side that was recorded before the order was.
--   2. What counts is when the rows were recorded (created_at), not when anybody says that he decided.
--   3. A row that is recorded again, PENDING and then SUBMITTED, is one order if it has the same client_order_id. It
--      stands on what was decided before its first row. Without a client_order_id, rows of one signal, symbol and side
--      are one order as long as no status comes twice.
--   4. A permission is for one order. A second one of the same signal, symbol and side needs a decision of its own,
--      recorded after the first order.
--   5. No row may be larger than what was allowed, or have a worse price. What was allowed must stand on limits that
--      were in force once. A permission in Safe Mode needs none: there an order can only reduce a position.
--
-- A decision is the word of the login that recorded it, as an order is: what it says of the position and the price was
-- not checked, nor whether the guardrail was asked. How old a decision was is not looked at either.
--
-- created_at of two tables is compared, so a clock that was set back between a decision and its order makes the order
-- look as if it came first. It is listed then, and its decision is there to look at.

select _make_trade_audit($columns$,
  rd.id                     as decision_id,
  rd.allowed                as decision_allowed,
  rd.reason                 as decision_reason,
  rd.mode::text             as decision_mode,
  rd.risk_version           as decision_version,
  rd.limits                 as decision_limits,
  rd.decision_maker::text   as decision_by,
  rd.decided_at             as decision_decided_at,
  rd.row_hash               as decision_hash$columns$, $joins$
left join lateral (
  select p.first_at
  from (select n.id, min(n.created_at) over (partition by n.client_order_id, n.place) as first_at
        from (select f.id, f.created_at, f.client_order_id,
                     row_number() over (partition by f.client_order_id, f.status order by f.id) as place
              from only order_execution as f
              where f.correlation_id = o.correlation_id and f.symbol::text = o.symbol::text
                and f.side::text = o.side::text) as n) as p
  where p.id = o.id) as fo on true
left join lateral (
  select d.id, d.allowed, d.reason, d.mode, d.risk_version, d.limits, d.decision_maker, d.decided_at, d.row_hash
  from only risk_decisions as d
  where d.correlation_id = s.correlation_id
    and (o.id is null or d.symbol::text = o.symbol::text and d.side::text = o.side::text
                         and d.created_at <= fo.first_at)
  order by d.id desc limit 1) as rd on true$joins$, ',risk_decisions');
comment on column vw_trade_audit_full.decision_id         is
  'The guardrail''s decision that the order stands on; for a signal without an order the latest about the signal.';
comment on column vw_trade_audit_full.decision_allowed    is 'Whether the guardrail allowed it.';
comment on column vw_trade_audit_full.decision_reason     is 'Why it was allowed or refused.';
comment on column vw_trade_audit_full.decision_mode       is 'State of the guardrail: NORMAL or SAFE_MODE.';
comment on column vw_trade_audit_full.decision_version    is 'Version of the limits that it answered by.';
comment on column vw_trade_audit_full.decision_limits     is
  'Those limits, from the log of applied changes; null if none has that version and hash.';
comment on column vw_trade_audit_full.decision_by         is
  'The person or algorithm that is responsible for the decision (its decision_maker).';
comment on column vw_trade_audit_full.decision_decided_at is 'When the guardrail answered, by its own clock.';
comment on column vw_trade_audit_full.decision_hash       is 'row_hash of the decision.';

create view vw_orders_without_permission with (security_invoker = true) as
with
placed as (
  select o.id, o.correlation_id, o.symbol::text as symbol, o.side::text as side, o.quantity, o.price, o.created_at,
         o.client_order_id::text as client_order_id, o.status::text as status, o.order_type::text as order_type,
         o.exchange_order_id::text as exchange_order_id, o.decision_maker::text as decision_maker, o.recorded_by,
         o.row_hash, row_number() over (partition by o.correlation_id, o.symbol, o.side, o.client_order_id, o.status
                                        order by o.id) as place
  from only order_execution as o
),
orders as (
  select p.*, min(p.created_at) over w as first_at, min(p.id) over w as first_id
  from placed as p
  window w as (partition by p.correlation_id, p.symbol, p.side, p.client_order_id, p.place)
),
decided as (
  select r.*, d.id as decision_id, d.allowed, d.reason, d.mode, d.quantity as allowed_quantity,
         d.price as allowed_price, d.risk_version, d.state_hash, d.limits,
         min(r.first_id) over (partition by d.id) as used_by
  from orders as r
  left join lateral (
    select x.id, x.allowed, x.reason, x.mode::text as mode, x.quantity, x.price, x.risk_version,
           x.state_hash, x.limits
    from only risk_decisions as x
    where x.correlation_id = r.correlation_id and x.symbol::text = r.symbol and x.side::text = r.side
      and x.created_at <= r.first_at
    order by x.id desc limit 1) as d on true
)
select
  d.id                 as order_id,
  d.correlation_id     as correlation_id,
  d.client_order_id    as client_order_id,
  d.symbol             as symbol,
  d.side               as side,
  d.quantity           as quantity,
  d.order_type         as order_type,
  d.status             as status,
  d.exchange_order_id  as exchange_order_id,
  d.decision_maker     as decision_maker,
  d.created_at         as created_at,
  d.recorded_by        as recorded_by,
  d.row_hash           as order_hash,
  d.decision_id        as decision_id,
  p.problem            as problem
from decided as d
cross join lateral (  -- with two relations here, every version of PostgreSQL prints the view alike
  select case when d.decision_id is null then 'no decision was recorded before it'
              when not d.allowed then concat('it was refused: ', d.reason)
              when d.limits is null and not (d.mode = 'SAFE_MODE'::text and d.state_hash is null) then
                format('the decision names a state that was never applied: version %s', d.risk_version)
              when d.quantity > d.allowed_quantity then
                format('its quantity is %s, and %s was allowed', d.quantity, d.allowed_quantity)
              when d.side = 'BUY'::text and d.price > d.allowed_price
                or d.side = 'SELL'::text and d.price < d.allowed_price then
                format('its price is %s, and it was judged at %s', d.price, d.allowed_price)
              when d.first_id <> d.used_by then
                format('order %s used this permission: it needs a decision of its own', d.used_by) end as problem) as p
where p.problem is not null and _sees_every_row('{order_execution,risk_decisions}'::text[]);
comment on view vw_orders_without_permission is
  'Every row of order_execution that no permission of the guardrail covers, and why.';
comment on column vw_orders_without_permission.order_id          is 'order_execution.id.';
comment on column vw_orders_without_permission.correlation_id    is 'The signal that led to the order.';
comment on column vw_orders_without_permission.client_order_id   is 'The id that the application gave the order.';
comment on column vw_orders_without_permission.symbol            is 'Instrument.';
comment on column vw_orders_without_permission.side              is 'BUY or SELL.';
comment on column vw_orders_without_permission.quantity          is 'Quantity ordered, exact.';
comment on column vw_orders_without_permission.order_type        is 'Its type.';
comment on column vw_orders_without_permission.status            is 'Status at submission.';
comment on column vw_orders_without_permission.exchange_order_id is 'The exchange''s id of the order.';
comment on column vw_orders_without_permission.decision_maker    is
  'The person or algorithm that is responsible for the order.';
comment on column vw_orders_without_permission.created_at        is 'When the order was recorded.';
comment on column vw_orders_without_permission.recorded_by       is 'The login that recorded it.';
comment on column vw_orders_without_permission.order_hash        is 'row_hash of the order.';
comment on column vw_orders_without_permission.decision_id       is
  'The decision that does not cover it; null if there is none.';
comment on column vw_orders_without_permission.problem           is 'Why no permission covers it, in words.';

select _grant('select on', '{vw_orders_without_permission}', '{app_trading, app_auditor, app_risk}');
