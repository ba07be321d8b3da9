-- 004_security_hardening: the views, and who may do what: exact grants, and nothing for PUBLIC.
-- depends: 003_attach_triggers

do $migration$
declare
  home  pg_catalog.text := pg_catalog.current_schema();
  trading  pg_catalog.text;
  auditor  pg_catalog.text;
  risk     pg_catalog.text;
  item     pg_catalog.record;
begin
perform pg_catalog.set_config('alpha.previous_search_path', pg_catalog.current_setting('search_path'), true),
        pg_catalog.set_config('quote_all_identifiers', 'off', true),
        pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
if not exists (select from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace join pg_roles as r on r.oid = p.proowner
               where p.proname = 'begin_migration' and n.nspname = home and r.rolname like '%alpha_owner') then
  raise exception 'alpha-db is not installed in schema %, which is first on search_path', home using errcode = '3F000';
end if;
perform set_config('search_path', concat(quote_ident(home), ', pg_temp'), true);
if not begin_migration('004_security_hardening') then return; end if;

------------------------------------------------------------------------------------------------------------------------
-- Views, with the rights of whoever reads them
------------------------------------------------------------------------------------------------------------------------

create view vw_trade_audit_full with (security_invoker = true) as
select
  s.id                as id,
  s.correlation_id    as correlation_id,
  s.signal_id         as signal_id,
  s.symbol            as symbol,
  s.side              as side,
  s.price             as price,
  s.quantity          as quantity,
  s.raw_payload       as raw_payload,
  s.source_ip         as source_ip,
  s.hmac_verified     as hmac_verified,
  s.created_at        as created_at,
  s.recorded_by       as recorded_by,
  ds.reasoning_json   as deepseek_reasoning,
  ll.reasoning_json   as llama_sentiment,
  cc.mean_score       as combined_confidence,
  o.id                as order_id,
  o.order_type        as order_type,
  o.symbol            as order_symbol,
  o.side              as order_side,
  o.quantity          as order_quantity,
  o.price             as order_price,
  o.exchange_order_id as order_exchange_order_id,
  o.status            as order_status,
  o.created_at        as order_created_at,
  o.recorded_by       as order_recorded_by,
  e.id                as event_id,
  e.event_type        as event_type,
  e.fill_quantity     as event_fill_quantity,
  e.fill_price        as event_fill_price,
  e.positions_closed  as event_positions_closed,
  e.rejection_reason  as event_rejection_reason,
  e.exchange_error_code as event_exchange_error_code,
  e.created_at        as event_created_at,
  e.recorded_by       as event_recorded_by,
  z.zar_equity        as zar_equity,
  s.row_hash          as signal_hash,
  ds.row_hash         as deepseek_hash,
  ll.row_hash         as llama_hash,
  o.row_hash          as order_hash,
  e.row_hash          as event_hash
from only signals as s
left join only order_execution as o on o.correlation_id = s.correlation_id
left join lateral (
  select d.reasoning_json, d.row_hash from only ai_debates as d
  where d.correlation_id = s.correlation_id and not d.is_timeout and starts_with(d.model_name::text, 'deepseek-r1'::text)
  order by d.id desc limit 1) as ds on true
left join lateral (
  select d.reasoning_json, d.row_hash from only ai_debates as d
  where d.correlation_id = s.correlation_id and not d.is_timeout and starts_with(d.model_name::text, 'llama-3.1'::text)
  order by d.id desc limit 1) as ll on true
left join lateral (
  select round(avg(m.confidence_score), 4) as mean_score
  from (select distinct on (d.model_name) d.confidence_score from only ai_debates as d
        where d.correlation_id = s.correlation_id and not d.is_timeout
        order by d.model_name, d.id desc) as m) as cc on true
left join lateral (
  select v.id, v.event_type, v.fill_quantity, v.fill_price, v.positions_closed, v.rejection_reason, v.exchange_error_code,
         v.created_at, v.recorded_by, v.row_hash
  from only order_events as v where v.order_execution_id = o.id order by v.id desc limit 1) as e on true
left join lateral (
  select v.zar_equity from only order_events as v
  where v.order_execution_id = o.id and v.zar_equity is not null order by v.id desc limit 1) as z on true
where _sees_every_row('{signals,ai_debates,order_execution,order_events}'::text[]);
comment on view vw_trade_audit_full is
  'Every signal with each of its orders (one row if it has none): latest debates, latest event, equity, and the hashes of all of them.';
comment on column vw_trade_audit_full.deepseek_reasoning  is 'Answer of the latest debate by a deepseek-r1 model that was no timeout.';
comment on column vw_trade_audit_full.llama_sentiment     is 'Answer of the latest debate by a llama-3.1 model that was no timeout.';
comment on column vw_trade_audit_full.combined_confidence is 'Mean confidence over the latest debate of each model that was no timeout, 4 decimals.';
comment on column vw_trade_audit_full.zar_equity          is 'Latest equity in rand among the order''s events.';
comment on column vw_trade_audit_full.signal_hash         is 'row_hash of the signal.';
comment on column vw_trade_audit_full.deepseek_hash       is 'row_hash of that deepseek-r1 debate.';
comment on column vw_trade_audit_full.llama_hash          is 'row_hash of that llama-3.1 debate.';
comment on column vw_trade_audit_full.order_hash          is 'row_hash of the order.';
comment on column vw_trade_audit_full.event_hash          is 'row_hash of the order''s latest event.';

create view vw_kill_switch_events with (security_invoker = true) as
select
  e.id                as event_id,
  e.created_at        as triggered_at,
  e.zar_equity        as zar_equity,
  e.positions_closed  as positions_closed,
  o.id                as order_id,
  o.order_type        as order_type,
  o.symbol            as order_symbol,
  o.side              as order_side,
  o.quantity          as order_quantity,
  o.price             as order_price,
  o.exchange_order_id as order_exchange_order_id,
  o.status            as order_status,
  s.id                as signal_row_id,
  s.correlation_id    as correlation_id,
  s.signal_id         as signal_id,
  s.symbol            as symbol,
  s.side              as side,
  s.price             as price,
  s.quantity          as quantity,
  s.created_at        as signal_created_at,
  e.row_hash          as event_hash,
  o.row_hash          as order_hash,
  s.row_hash          as signal_hash
from only order_events as e
join only order_execution as o on o.id = e.order_execution_id
join only signals as s on s.correlation_id = o.correlation_id
where e.event_type::text = 'KILL_SWITCH'::text and _sees_every_row('{signals,order_execution,order_events}'::text[]);
comment on view vw_kill_switch_events is
  'Every kill switch: equity at that moment, the positions it closed, the order, and the signal that led there.';
comment on column vw_kill_switch_events.triggered_at      is 'When the kill switch was recorded.';
comment on column vw_kill_switch_events.zar_equity        is 'Account equity in rand when the kill switch was triggered.';
comment on column vw_kill_switch_events.positions_closed  is 'The positions that it closed, an array.';
comment on column vw_kill_switch_events.signal_row_id     is 'signals.id of the signal that led there.';
comment on column vw_kill_switch_events.signal_created_at is 'When that signal was recorded.';
comment on column vw_kill_switch_events.event_hash        is 'row_hash of the event.';
comment on column vw_kill_switch_events.order_hash        is 'row_hash of the order.';
comment on column vw_kill_switch_events.signal_hash       is 'row_hash of the signal.';
-- The other columns say what the column behind them says.
for item in
  select v.relname as view_name, a.attname as column_name, col_description(b.attrelid, b.attnum) as what
  from (values ('order_', 'order_execution'), ('event_', 'order_events'), ('', 'signals')) as s(prefix, table_name)
  join pg_class as v on v.oid in ('vw_trade_audit_full'::regclass, 'vw_kill_switch_events'::regclass)
  join pg_attribute as a on a.attrelid = v.oid and a.attnum > 0 and starts_with(a.attname::text, s.prefix)
  join pg_attribute as b on b.attrelid = s.table_name::regclass and b.attname in (a.attname, substr(a.attname, length(s.prefix) + 1))
  where col_description(a.attrelid, a.attnum) is null
loop
  execute format('comment on column %I.%I is %L', item.view_name, item.column_name, item.what);
end loop;

create view vw_rejected_attempts with (security_invoker = true) as
select a.code, a.table_name, a.operation, a.attempts from rejected_attempts() as a (code, table_name, operation, attempts);
comment on view vw_rejected_attempts is
  'How often each kind of attempt was refused, also if it was rolled back. Details of each stand in the server''s log: alpha-db attempt {json}.';
comment on column vw_rejected_attempts.code       is 'Error code, AUD-001 and so on.';
comment on column vw_rejected_attempts.table_name is 'The table that was protected; for AUD-001 found by a domain, the domain.';
comment on column vw_rejected_attempts.operation  is 'INSERT, UPDATE, DELETE, TRUNCATE, CAST or DDL.';
comment on column vw_rejected_attempts.attempts   is 'How often it was refused.';

create function record_maintenance(reason text, command_tag text, object_identity text) returns void
language sql security definer
set search_path from current
as $function$
  insert into maintenance_events (reason, command_tag, object_identity)
  values (record_maintenance.reason, record_maintenance.command_tag, record_maintenance.object_identity);
$function$;
comment on function record_maintenance(text, text, text) is
  'Records DDL on a protected object that alpha.maintenance let through. Called by the DDL guard.';

create function lock_holders()
returns table (lock_name text, mode text, granted boolean, pid integer, gid text, login text, application text,
               client_address text, since timestamptz, state text, blocks integer[])
language sql stable
set search_path from current
as $function$
  with
  locks as materialized (
    select l.* from pg_locks as l
  ),
  ours as (
    select c.oid, c.relname::text as name, c.relname ~ '^lock_' or c.relname = 'log_nodes' as is_lock
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = current_schema() and c.relkind = 'r'
  ),
  -- A prepared transaction has no process. Of sessions only what conflicts with a lock that the kit takes: not pg_dump's.
  held as (
    select o.name, l.granted, l.pid, case when l.pid is null then l.virtualtransaction end as place,
           string_agg(distinct l.mode, ', ') as mode, min(l.waitstart) as waits_since
    from locks as l
    join ours as o on o.oid = l.relation
    where l.locktype = 'relation' and l.database = (select d.oid from pg_database as d where d.datname = current_database())
      and (l.pid is null or not l.granted
           or o.is_lock and l.mode not in ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
           or l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
    group by 1, 2, 3, 4
  )
  select h.name, h.mode, h.granted, h.pid, p.gid, coalesce(a.usename::text, p.owner::text),
         coalesce(nullif(a.application_name, ''), a.backend_type), host(a.client_addr),
         case when h.granted then coalesce(a.xact_start, p.prepared) else h.waits_since end,
         case when h.pid is null then 'prepared' else a.state end,
         case when h.granted then array(select w.pid from held as w where w.name = h.name and not w.granted order by w.pid)
              else '{}' end
  from held as h
  left join pg_stat_activity as a on a.pid = h.pid
  left join locks as x on x.locktype = 'transactionid' and x.pid is null and x.virtualtransaction = h.place
                      and x.transactionid in (select q.transaction from pg_prepared_xacts as q)
  left join pg_prepared_xacts as p on p.transaction = x.transactionid
  order by 1, h.granted desc, 9, 4;
$function$;
comment on function lock_holders() is
  'Who holds or waits for a lock of this installation: of a chain, the proposals, the Merkle logs, the migrations, or a table that nobody can write meanwhile; and every prepared transaction that has locked one of its tables.';

perform count_attempts('AUD-011', 'protected object', 'DDL');

------------------------------------------------------------------------------------------------------------------------
-- Grants. The roles are NOLOGIN; login roles are the operator's (docs/operations.md).
------------------------------------------------------------------------------------------------------------------------

trading := app_role('app_trading');
auditor := app_role('app_auditor');
risk    := app_role('app_risk');

for item in select c.table_name from only chains as c where not c.is_internal order by c.position loop
  execute format('revoke all on %I from public, %I, %I, %I', item.table_name, trading, auditor, risk);
  -- UPDATE, DELETE and TRUNCATE stay revoked: PostgreSQL itself refuses them first (42501).
  execute format('grant select, insert on %I to %I', item.table_name, trading);
  execute format('grant select on %I to %I, %I', item.table_name, auditor, risk);
  -- nextval in the default of a bigserial needs it, although the chain assigns the id.
  execute format('grant usage on sequence %I to %I', item.table_name || '_id_seq', trading);
end loop;
execute format('grant select on installation, installed_migrations, attempt_counters, chains, chain_columns, guard_states, verification_runs, lockdown_events, maintenance_events to %I', auditor);
execute format('grant select on vw_trade_audit_full, vw_kill_switch_events, vw_rejected_attempts to %I, %I, %I', trading, auditor, risk);
execute format('grant execute on function _sees_every_row(text[]), rejected_attempts(), lockdown_status(), lock_holders() to %I, %I, %I', trading, auditor, risk);

-- What the writing functions and the domains' checks call runs with the writer's rights.
execute format('grant execute on function
  record_signal(text, text, text, anycompatible, anycompatible, jsonb, inet, boolean, uuid, anycompatible),
  record_ai_debate(uuid, text, jsonb, anycompatible, integer, boolean, anycompatible),
  record_order(uuid, text, text, text, anycompatible, anycompatible, text, text, anycompatible),
  record_order_event(bigint, text, anycompatible, anycompatible, anycompatible, jsonb, text, text, anycompatible),
  refuse_decimal(numeric, integer, integer), refuse_float(text, regtype), refuse_too_long(text, text[], text[]), refuse_signal_reuse(signals, signals) to %I', trading);
execute format('grant execute on procedure
  append_signal(text, text, text, anycompatible, anycompatible, jsonb, inet, boolean, uuid, bigint, text, anycompatible),
  append_ai_debate(uuid, text, jsonb, anycompatible, integer, boolean, bigint, text, anycompatible),
  append_order(uuid, text, text, text, anycompatible, anycompatible, text, text, bigint, text, anycompatible),
  append_order_event(bigint, text, anycompatible, anycompatible, anycompatible, jsonb, text, text, uuid, bigint, text, anycompatible),
  begin_append() to %I', trading);

execute format('grant execute on function
  verify_chain_integrity(text, bigint, bigint, boolean), find_chain_damage(text, bigint, bigint), verify_chain(text, bigint, bigint),
  verify_range(text, bigint, bigint, boolean), changed_guards(), verified_heads(), split_range(bigint, bigint, bigint),
  verification_plan(boolean, integer, bigint), record_verification(boolean, jsonb, bigint),
  verify_guards(), guard_facts(), _collation_text(oid), _switches_off(text, text), _view_text(oid), _counters(), _lowered_counters(), grants_text(aclitem[], oid), owner_role(), app_role(text),
  chain_status(), chain_rows(text, bigint, bigint), chain_rows_sql(text), chain_check_sql(text), chain_links_sql(text), chain_places_sql(text),
  chain_or_error(text), _require_register(), _missing_part(text), _require_chain(text), _ahead_of_clock(timestamptz), _known_heads(),
  chain_genesis(text), _acknowledged_if_known(), acknowledged_damage(), _damage_item(text, bigint, text, text, text) to %I', auditor);
execute format('grant execute on function open_damage() to %I, %I', auditor, risk);

perform finish_migration('004_security_hardening');
end
$migration$;
