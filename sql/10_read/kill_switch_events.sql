-- Every kill switch with the order and the signal behind it; with the rights of the login that reads it.

create view vw_kill_switch_events with (security_invoker = true) as
select
  e.id                      as event_id,
  e.created_at              as triggered_at,
  e.zar_equity              as zar_equity,
  e.positions_closed        as positions_closed,
  o.id                      as order_id,
  o.order_type::text        as order_type,
  o.symbol::text            as order_symbol,
  o.side::text              as order_side,
  o.quantity                as order_quantity,
  o.price                   as order_price,
  o.exchange_order_id::text as order_exchange_order_id,
  o.status::text            as order_status,
  o.client_order_id::text   as order_client_order_id,
  s.id                      as signal_row_id,
  s.correlation_id          as correlation_id,
  s.signal_id::text         as signal_id,
  s.symbol::text            as symbol,
  s.side::text              as side,
  s.price                   as price,
  s.quantity                as quantity,
  s.created_at              as signal_created_at,
  e.row_hash                as event_hash,
  o.row_hash                as order_hash,
  s.row_hash                as signal_hash
from only order_events as e
left join only order_execution as o on o.id = e.order_execution_id
left join only signals as s on s.correlation_id = o.correlation_id
where e.event_type::text = 'KILL_SWITCH'::text
  and _sees_every_row('{signals,order_execution,order_events}'::text[]);
comment on view vw_kill_switch_events is
  'Every kill switch: equity at that moment, the positions it closed, and, if it was triggered for an order, the order '
  'and the signal that led there.';
comment on column vw_kill_switch_events.triggered_at      is 'When the kill switch was recorded.';
comment on column vw_kill_switch_events.zar_equity        is
  'Account equity in rand when the kill switch was triggered.';
comment on column vw_kill_switch_events.positions_closed  is 'The positions that it closed, an array.';
comment on column vw_kill_switch_events.signal_row_id     is 'signals.id of the signal that led there.';
comment on column vw_kill_switch_events.signal_created_at is 'When that signal was recorded.';
comment on column vw_kill_switch_events.event_hash        is 'row_hash of the event.';
comment on column vw_kill_switch_events.order_hash        is 'row_hash of the order.';
comment on column vw_kill_switch_events.signal_hash       is 'row_hash of the signal.';

create function _comment_views() returns void
language plpgsql
set search_path from current
as $function$
declare
  item  record;
begin
  for item in
    select v.relname as view_name, a.attname as column_name, col_description(b.attrelid, b.attnum) as what
    from (values ('vw_trade_audit_full',       'order_', 'order_execution'),
                 ('vw_trade_audit_full',       'event_', 'order_events'),
                 ('vw_trade_audit_full',       '',       'signals'),
                 ('vw_kill_switch_events',     'order_', 'order_execution'),
                 ('vw_kill_switch_events',     'event_', 'order_events'),
                 ('vw_kill_switch_events',     '',       'signals'),
                 ('vw_unprocessed_deliveries', '',       'webhook_deliveries')) as s(view_name, prefix, table_name)
    join pg_class as v on v.oid = s.view_name::regclass
    join pg_attribute as a on a.attrelid = v.oid and a.attnum > 0 and starts_with(a.attname::text, s.prefix)
    join pg_attribute as b on b.attrelid = s.table_name::regclass
                          and b.attname in (a.attname, substr(a.attname, length(s.prefix) + 1))
    where col_description(a.attrelid, a.attnum) is null
  loop
    execute format('comment on column %I.%I is %L', item.view_name, item.column_name, item.what);
  end loop;
end
$function$;
comment on function _comment_views is
  'Gives each column of the views that has no comment of its own that of the column behind it.';

select _comment_views();
