-- 004_security_hardening: the views, and who may do what: exact grants, and nothing for PUBLIC.
-- Built from sql/ by bin/build; change it there.
-- depends: 003_attach_triggers

-- The frame of every migration but the first: one DO block, so one transaction and one checksum however it is applied.
-- Somebody else's function could stand in front of PostgreSQL's own until search_path is set, so everything before that
-- is named with its schema. sql/01_install/migrations.sql explains the rest.

do $migration$
declare
  home  pg_catalog.text := pg_catalog.current_schema();
begin
perform pg_catalog.set_config('alpha.previous_search_path', pg_catalog.current_setting('search_path'), true),
        pg_catalog.set_config('quote_all_identifiers', 'off', true),
        pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
if not exists (select from pg_proc as p
               join pg_namespace as n on n.oid = p.pronamespace
               join pg_class as c on c.relnamespace = n.oid and c.relname = 'installed_migrations'
               join pg_roles as r on r.oid = p.proowner and r.oid = c.relowner
               where p.proname = '_begin_migration' and n.nspname = home
                 and r.rolname ~ '^([a-z][a-z0-9_]{0,39})?alpha_owner$') then
  raise exception 'alpha-db is not installed in schema %, which is first on search_path', home using errcode = '3F000';
end if;
perform set_config('search_path', concat(quote_ident(home), ', pg_temp'), true);
if not _begin_migration('004_security_hardening') then return; end if;

-- sql/10_read/deliveries.sql

-- Deliveries that became no signal: what the application could not read, has not read yet, or refused.
--
-- A worker that died between the delivery and its signal left one here, so a restart goes through this view. A delivery
-- that was sent again is listed, too, because no signal was made of it; repeats says so.

create view vw_unprocessed_deliveries with (security_invoker = true) as
select
  d.id, d.created_at, d.source_ip, d.content_type, d.headers, d.raw_body, d.body_size, d.body_sha256, d.signature,
  d.hmac_verified, d.recorded_by, r.first_id as repeats
from only webhook_deliveries as d
left join (
  select p.body_sha256, min(p.id) as first_id
  from only webhook_deliveries as p
  join only signals as s on s.delivery_id = p.id
  group by p.body_sha256) as r on r.body_sha256 = d.body_sha256
where not exists (select from only signals as s where s.delivery_id = d.id)
  and _sees_every_row('{webhook_deliveries,signals}'::text[]);
comment on view vw_unprocessed_deliveries is
  'Deliveries that no signal was made of: unreadable, refused, not read yet, or repeated.';
comment on column vw_unprocessed_deliveries.repeats is
  'The first delivery of the same bytes that a signal was made of; null if there is none.';

-- sql/10_read/trade_audit.sql

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
perform _make_trade_audit();

-- sql/10_read/kill_switch_events.sql

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
perform _comment_views();

-- sql/10_read/operations.sql

-- What an operator asks: who holds a lock, whether standbys are behind, which logins have no time-outs, what was
-- refused.
--
-- The first three run with the caller's rights: what PostgreSQL hides from a login that is not in pg_read_all_stats
-- stays hidden here.

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
  -- A prepared transaction has no process. Of sessions, only what conflicts with a lock that alpha-db takes: not
  -- pg_dump's.
  held as (
    select o.name, l.granted, l.pid, case when l.pid is null then l.virtualtransaction end as place,
           string_agg(distinct l.mode, ', ') as mode, min(l.waitstart) as waits_since
    from locks as l
    join ours as o on o.oid = l.relation
    where l.locktype = 'relation'
      and l.database = (select d.oid from pg_database as d where d.datname = current_database())
      and (l.pid is null or not l.granted
           or o.is_lock and l.mode not in ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
           or l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
    group by 1, 2, 3, 4
  )
  select h.name, h.mode, h.granted, h.pid, p.gid, coalesce(a.usename::text, p.owner::text),
         -- Of what replays the primary's log a login may see no more than that it has no user.
         coalesce(nullif(a.application_name, ''), a.backend_type,
                  case when a.pid is not null and a.usename is null and pg_is_in_recovery() then 'startup' end),
         host(a.client_addr),
         case when h.granted then coalesce(a.xact_start, p.prepared) else h.waits_since end,
         case when h.pid is null then 'prepared' else a.state end,
         case when h.granted then array(select w.pid from held as w
                                        where w.name = h.name and not w.granted order by w.pid)
              else '{}' end
  from held as h
  left join pg_stat_activity as a on a.pid = h.pid
  left join locks as x on x.locktype = 'transactionid' and x.pid is null and x.virtualtransaction = h.place
                      and x.transactionid in (select q.transaction from pg_prepared_xacts as q)
  left join pg_prepared_xacts as p on p.transaction = x.transactionid
  order by 1, h.granted desc, 9, 4;
$function$;
comment on function lock_holders is
  'Who holds or waits for a lock of this installation: of a chain, the proposals, the Merkle logs, the migrations, or '
  'a table that nobody can write meanwhile; and every prepared transaction that has locked one of its tables.';
create function standbys(replayed_to pg_lsn)
returns table (name text, has_replayed boolean, is_visible boolean)
language sql stable
set search_path from current
as $function$
  -- Neither logical subscribers, base backups, nor receivers of WAL, which never replay.
  select coalesce(nullif(r.application_name, ''), r.pid::text),
         coalesce(r.replay_lsn >= replayed_to, false),
         pg_has_role('pg_read_all_stats', 'usage')
  from pg_stat_replication as r
  where coalesce(r.state, '') <> 'backup'
    and not (r.write_lsn is not null and r.replay_lsn is null)
    and not exists (select from pg_replication_slots as s where s.active_pid = r.pid and s.slot_type = 'logical')
  order by 1;
$function$;
comment on function standbys is
  'The physical standbys that are connected: whether each has replayed the write-ahead log to this position, and '
  'whether the caller may see that.';
create function replay_lag()
returns table (in_recovery boolean, seconds double precision)
language sql stable
set search_path from current
as $function$
  select pg_is_in_recovery(),
         case when pg_is_in_recovery()
              then extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::double precision end;
$function$;
comment on function replay_lag is
  'Whether this is a standby, and how long ago the last transaction that it replayed was committed on the primary. If '
  'the primary is idle that grows, too, unless heartbeat() is called there: a standby alone cannot tell the two apart.';
create function heartbeat() returns xid8
language plpgsql
set search_path from current
as $function$
begin
  perform _require_primary('heartbeat');
  -- A transaction with an id commits with a record in the write-ahead log, even if it wrote nothing. Anyone may take an
  -- id, so this gives no role what it had not.
  return pg_current_xact_id();
end
$function$;
comment on function heartbeat is
  'Takes a transaction id and writes no row, so that the commit reaches every standby: what reads there sees by '
  'replay_lag() that the primary lives, even if nothing else is written. Raises 25006 on a standby.';
create function logins_without_timeouts()
returns table (role text, member_of text[], lacks text[])
language sql stable security definer
set search_path from current
as $function$
  -- A time-out of a login comes from: the role in this database, the role, the database, all roles, the server.
  with recursive members as (
    select r.oid, r.rolname::text as app_role
    from pg_roles as r
    where r.rolname in (select _app_role(n.name)
                        from unnest(array['alpha_owner', 'app_trading', 'app_auditor', 'app_risk']) as n(name))
    union
    select a.member, m.app_role
    from pg_auth_members as a
    join members as m on m.oid = a.roleid
  ),
  effective as (
    select m.oid, m.app_role, g.name,
           coalesce(
             (select split_part(c, '=', 2)
              from pg_db_role_setting as s
              cross join lateral unnest(s.setconfig) as c
              where split_part(c, '=', 1) = g.name
                and s.setrole in (m.oid, 0)
                and s.setdatabase in ((select d.oid from pg_database as d where d.datname = current_database()), 0)
              order by s.setrole = 0, s.setdatabase = 0
              limit 1),
             (select p.reset_val from pg_settings as p
              where p.name = g.name and p.source in ('configuration file', 'command line', 'environment variable')),
             '0') as value
    from members as m
    cross join (values ('lock_timeout'), ('idle_in_transaction_session_timeout')) as g(name)
  )
  select r.rolname::text, array_agg(distinct e.app_role), array_agg(distinct e.name)
  from effective as e
  join pg_roles as r on r.oid = e.oid
  where r.rolcanlogin and e.value ~ '^[[:space:]]*-?0+([.]0*)?[[:space:]]*[a-z]*[[:space:]]*$'
  group by r.rolname
  order by r.rolname;
$function$;
comment on function logins_without_timeouts is
  'Login roles that are members of a role of this installation, with the time-outs that nothing sets for them: one '
  'that holds a lock without a time-out stops every writer.';
-- How often each kind of attempt was refused: 02_refusals counts them in sequences, which a rollback does not undo.
create view vw_rejected_attempts with (security_invoker = true) as
select a.code, a.table_name, a.operation, a.attempts
from rejected_attempts() as a (code, table_name, operation, attempts);
comment on view vw_rejected_attempts is
  'How often each kind of attempt was refused, even if it was rolled back. Details of each stand in the server''s log: '
  'alpha-db attempt {json}.';
comment on column vw_rejected_attempts.code       is 'Error code, AUD-001 and so on.';
comment on column vw_rejected_attempts.table_name is
  'The table that was protected; for AUD-001 found by a domain, the domain.';
comment on column vw_rejected_attempts.operation  is 'INSERT, UPDATE, DELETE, TRUNCATE, CAST or DDL.';
comment on column vw_rejected_attempts.attempts   is 'How often it was refused.';

-- sql/10_read/grants.sql

-- Grants. The roles are NOLOGIN; login roles are the operator's (docs/operations.md).
--
-- app_trading writes the audit log, app_auditor reads and verifies everything, app_risk proposes and votes. A function
-- that runs with its caller's rights needs a grant for each function that it calls: those begin with _. Grants on what
-- later migrations make stand there. tests/security/test_grants.py states the exact sets.

perform _count_attempts('AUD-011', 'protected object', 'DDL');
-- Tables and views

-- UPDATE, DELETE and TRUNCATE stay revoked: PostgreSQL itself refuses them first (42501).
perform _grant('select, insert on', array[c.table_name], '{app_trading}'),
       _grant('select on', array[c.table_name], '{app_auditor, app_risk}'),
       -- nextval in the default of a bigserial needs it, although the chain assigns the id.
       _grant('usage on sequence', array[c.table_name || '_id_seq'], '{app_trading}')
from only chains as c where not c.is_internal;
-- The alarm's two numbers, for writers, who look for a retry's row first while it is raised.
perform _grant('select on sequence', '{lockdown_alarm, lockdown_lifted}', '{app_trading}');
perform _grant('select on', '{installation, installed_migrations, attempt_counters, chains, chain_columns, chain_starts,
                             guard_states, verification_runs, lockdown_events, maintenance_events}',
              '{app_auditor}');
perform _grant('select on', '{vw_trade_audit_full, vw_kill_switch_events, vw_unprocessed_deliveries,
                             vw_rejected_attempts}',
              '{app_trading, app_auditor, app_risk}');
-- Functions for everyone with one of our roles

perform _grant('execute on routine', '{_sees_every_row, rejected_attempts, lockdown_status,
                                      lock_holders, replay_lag, heartbeat, _require_primary,
                                      logins_without_timeouts}',
              '{app_trading, app_auditor, app_risk}');
-- Writing, and what the writing functions and the domains' checks call

perform _grant('execute on routine', '{record_webhook, record_signal, record_ai_debate, record_order,
                                      record_order_event, append_webhook, append_signal,
                                      append_ai_debate, append_order, append_order_event,
                                      record_signals, record_ai_debates, record_orders,
                                      record_order_events, append_signals, append_ai_debates,
                                      append_orders, append_order_events, _elements, _refuse_element,
                                      _begin_append, _alarm_is_raised, _record_new_signals, _read_json, _accept_retry,
                                      _require_same_order, _refuse_unseen, _refuse_decimal,
                                      _refuse_float, _refuse_too_long}',
              '{app_trading}');
-- Verifying, and what the verifying functions call

perform _grant('execute on routine', '{verify_chain_integrity, verify_range, verify_chain,
                                      find_chain_damage, acknowledged_damage, verification_plan,
                                      record_verification, chain_status, chain_rows, chain_rows_sql,
                                      chain_genesis, standbys}',
              '{app_auditor}');
perform _grant('execute on routine', '{open_damage}', '{app_auditor, app_risk}');
perform _grant('execute on routine', '{_fill, _owner_role, _app_role, _chain_or_error,
                                      _require_register, _require_chain, _missing_part,
                                      _ahead_of_clock, _known_heads, _verified_heads, _split_range,
                                      _chain_check_sql, _chain_links_sql, _chain_places_sql,
                                      _gap_at_end_sql, _acknowledged_if_known, _damage_item,
                                      _weigh_damage, _verdict, _with_verdict, _check_range_of_chain,
                                      _missing_end_text, _chain_parts_sql, _check_in_parts,
                                      _chain_start, _proven_start, _archive_proposal, _was_removed}',
              '{app_auditor}');
-- Comparing the guards, and what that calls

perform _grant('execute on routine', '{verify_guards, guards_since, changed_guards, guard_facts}', '{app_auditor}');
perform _grant('execute on routine', '{_counters, _lowered_counters, _grants_text, _collation_text,
                                      _view_text, _switches_off, _guard_facts_json, _guard_home,
                                      _guard_extensions, _guard_relations, _guard_functions,
                                      _guard_roles, _guard_members, _guard_objects, _guard_parts,
                                      _kept_elsewhere, _schema_facts, _stray_facts,
                                      _role_facts, _setting_facts, _relation_facts, _sequence_facts,
                                      _view_facts, _column_facts, _constraint_facts, _index_facts,
                                      _trigger_facts, _function_facts, _type_facts,
                                      _extension_facts, _dependency_facts, _right_facts,
                                      _register_facts, _event_trigger_facts}',
              '{app_auditor}');

perform _finish_migration('004_security_hardening');
end
$migration$;
