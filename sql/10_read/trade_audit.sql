-- Every signal with what came of it; with the rights of the login that reads it.
--
-- The columns of a signal come first and have the names of the table; those of an order begin with order_, those of its
-- latest event with event_. A column without a comment here gets that of the column behind it (kill_switch_events.sql).
--
-- The view is a template, because a later migration may know more about an order than this one: 23_risk_config adds the
-- guardrail's decision (17_risk/permission.sql). It is complete without that. What is added stands last, because an
-- existing view can get further columns only there.

-- Longer than 60 lines, because it is the whole view.
create function _make_trade_audit(more_columns text default '', more_joins text default '', more_tables text default '')
returns void
language plpgsql
set search_path from current
as $function$
begin
  execute _fill($view$
create or replace view vw_trade_audit_full with (security_invoker = true) as
select
  s.id                      as id,
  s.correlation_id          as correlation_id,
  s.signal_id::text         as signal_id,
  s.symbol::text            as symbol,
  s.side::text              as side,
  s.price                   as price,
  s.quantity                as quantity,
  s.raw_payload             as raw_payload,
  s.source_ip               as source_ip,
  s.hmac_verified           as hmac_verified,
  s.delivery_id             as delivery_id,
  s.created_at              as created_at,
  s.recorded_by             as recorded_by,
  ds.reasoning_json         as deepseek_reasoning,
  ll.reasoning_json         as llama_sentiment,
  cc.mean_score             as combined_confidence,
  o.id                      as order_id,
  o.order_type::text        as order_type,
  o.symbol::text            as order_symbol,
  o.side::text              as order_side,
  o.quantity                as order_quantity,
  o.price                   as order_price,
  o.exchange_order_id::text as order_exchange_order_id,
  o.status::text            as order_status,
  o.client_order_id::text   as order_client_order_id,
  o.stop_price              as order_stop_price,
  o.decision_maker::text    as order_decision_maker,
  o.exchange_status         as order_exchange_status,
  o.created_at              as order_created_at,
  o.recorded_by             as order_recorded_by,
  e.id                      as event_id,
  e.event_type::text        as event_type,
  e.fill_quantity           as event_fill_quantity,
  e.fill_price              as event_fill_price,
  e.positions_closed        as event_positions_closed,
  e.rejection_reason        as event_rejection_reason,
  e.exchange_error_code::text as event_exchange_error_code,
  e.exchange_event_id::text as event_exchange_event_id,
  e.exchange_status         as event_exchange_status,
  e.created_at              as event_created_at,
  e.recorded_by             as event_recorded_by,
  z.zar_equity              as zar_equity,
  s.row_hash                as signal_hash,
  ds.row_hash               as deepseek_hash,
  ll.row_hash               as llama_hash,
  o.row_hash                as order_hash,
  e.row_hash                as event_hash{columns:s}
from only signals as s
left join only order_execution as o on o.correlation_id = s.correlation_id
left join lateral (
  select d.reasoning_json, d.row_hash from only ai_debates as d
  where d.correlation_id = s.correlation_id and not d.is_timeout
    and starts_with(d.model_name::text, 'deepseek-r1'::text)
  order by d.id desc limit 1) as ds on true
left join lateral (
  select d.reasoning_json, d.row_hash from only ai_debates as d
  where d.correlation_id = s.correlation_id and not d.is_timeout
    and starts_with(d.model_name::text, 'llama-3.1'::text)
  order by d.id desc limit 1) as ll on true
left join lateral (
  select round(avg(m.confidence_score), 4) as mean_score
  from (select distinct on (d.model_name) d.confidence_score from only ai_debates as d
        where d.correlation_id = s.correlation_id and not d.is_timeout
        order by d.model_name, d.id desc) as m) as cc on true
left join lateral (
  select v.id, v.event_type, v.fill_quantity, v.fill_price, v.positions_closed, v.rejection_reason,
         v.exchange_error_code, v.exchange_event_id, v.exchange_status, v.created_at, v.recorded_by, v.row_hash
  from only order_events as v where v.order_execution_id = o.id order by v.id desc limit 1) as e on true
left join lateral (
  select v.zar_equity from only order_events as v
  where v.order_execution_id = o.id and v.zar_equity is not null order by v.id desc limit 1) as z on true{joins:s}
where _sees_every_row('{signals,ai_debates,order_execution,order_events{tables:s}}'::text[]);
$view$, 'columns', more_columns, 'joins', more_joins, 'tables', more_tables);
  comment on view vw_trade_audit_full is
    'Every signal with each of its orders (one row if it has none): latest debates, latest event, equity, and the '
    'hashes of all of them.';
  comment on column vw_trade_audit_full.deepseek_reasoning  is
    'Answer of the latest debate by a deepseek-r1 model that was no timeout.';
  comment on column vw_trade_audit_full.llama_sentiment     is
    'Answer of the latest debate by a llama-3.1 model that was no timeout.';
  comment on column vw_trade_audit_full.combined_confidence is
    'Mean confidence over the latest debate of each model that was no timeout, 4 decimals.';
  comment on column vw_trade_audit_full.zar_equity          is 'Latest equity in rand among the order''s events.';
  comment on column vw_trade_audit_full.signal_hash         is 'row_hash of the signal.';
  comment on column vw_trade_audit_full.deepseek_hash       is 'row_hash of that deepseek-r1 debate.';
  comment on column vw_trade_audit_full.llama_hash          is 'row_hash of that llama-3.1 debate.';
  comment on column vw_trade_audit_full.order_hash          is 'row_hash of the order.';
  comment on column vw_trade_audit_full.event_hash          is 'row_hash of the order''s latest event.';
end
$function$;
comment on function _make_trade_audit is
  'Makes vw_trade_audit_full, with further columns, the joins that they come from, and the tables behind those.';

select _make_trade_audit();
