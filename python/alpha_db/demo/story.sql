-- What the demo sends besides the stored functions. What it prints of this is the text as it stands here.

-- name: create_logins
CREATE ROLE demo_trader LOGIN IN ROLE app_trading;
ALTER ROLE demo_trader SET lock_timeout = '5s';
ALTER ROLE demo_trader SET idle_in_transaction_session_timeout = '60s';
CREATE ROLE demo_auditor LOGIN IN ROLE app_auditor;
ALTER ROLE demo_auditor SET lock_timeout = '5s';
ALTER ROLE demo_auditor SET idle_in_transaction_session_timeout = '60s';

-- name: create_council
CREATE ROLE demo_council LOGIN IN ROLE app_risk;
ALTER ROLE demo_council SET lock_timeout = '5s';
ALTER ROLE demo_council SET idle_in_transaction_session_timeout = '60s';

-- name: create_database
CREATE DATABASE alpha_demo;

-- name: copy_database
CREATE DATABASE alpha_demo_copy TEMPLATE alpha_demo;

-- name: copy_for_risk
CREATE DATABASE alpha_demo_risk TEMPLATE alpha_demo;

-- name: copy_for_cut
CREATE DATABASE alpha_demo_cut TEMPLATE alpha_demo;

-- name: whoami
SELECT session_user::text AS login, rolsuper AS is_superuser,
       (SELECT array_agg(roleid::regrole::text) FROM pg_auth_members AS m WHERE m.member = r.oid) AS member_of
FROM pg_roles AS r
WHERE rolname = session_user;

-- name: rows_written
SELECT (SELECT count(*) FROM webhook_deliveries) AS webhook_deliveries,
       (SELECT count(*) FROM signals)            AS signals,
       (SELECT count(*) FROM ai_debates)         AS ai_debates,
       (SELECT count(*) FROM order_execution)    AS order_execution,
       (SELECT count(*) FROM order_events)       AS order_events;

-- name: latest_decision
SELECT allowed, reason, risk_version FROM risk_decisions ORDER BY id DESC LIMIT 1;

-- name: internal_chains
SELECT table_name FROM chains WHERE is_internal;

-- name: trade_count
SELECT count(*) AS view_rows, count(DISTINCT id) AS signals, count(order_id) AS order_rows
FROM vw_trade_audit_full;

-- name: trade
SELECT id, signal_id, symbol, side, price, quantity, hmac_verified, deepseek_reasoning, llama_sentiment,
       combined_confidence, order_id, order_type, order_side, order_quantity, order_price, order_status,
       order_exchange_order_id, event_id, event_type, event_fill_quantity, event_fill_price, zar_equity,
       signal_hash, deepseek_hash, llama_hash, order_hash, event_hash
FROM vw_trade_audit_full
WHERE event_type = 'FILL' AND deepseek_hash IS NOT NULL AND llama_hash IS NOT NULL
ORDER BY id
LIMIT 1;

-- name: kill_switch
SELECT event_id, triggered_at, zar_equity, positions_closed, order_id, order_type, order_side, order_quantity,
       order_price, signal_row_id, signal_id, event_hash
FROM vw_kill_switch_events
ORDER BY event_id;

-- name: update_signal
UPDATE signals SET price = 1 WHERE id = 1;

-- name: delete_signal
DELETE FROM signals WHERE id = 1;

-- name: truncate_signals
TRUNCATE signals CASCADE;

-- name: update_debate
UPDATE ai_debates SET confidence_score = 1 WHERE id = 1;

-- name: delete_debate
DELETE FROM ai_debates WHERE id = 1;

-- name: update_order
UPDATE order_execution SET quantity = 1 WHERE id = 1;

-- name: delete_event
DELETE FROM order_events WHERE id = 1;

-- name: refused_attempts
SELECT coalesce(sum(attempts), 0)::bigint AS attempts
FROM vw_rejected_attempts
WHERE operation IN ('UPDATE', 'DELETE', 'TRUNCATE');

-- name: switch_off
ALTER TABLE signals DISABLE TRIGGER _100_reject_change;

-- name: tamper
UPDATE signals SET quantity = quantity + 1 WHERE id = %(id)s;

-- name: switch_on
ALTER TABLE signals ENABLE ALWAYS TRIGGER _100_reject_change;

-- name: as_owner
SET LOCAL ROLE alpha_owner;

-- name: switch_off_risk
ALTER TABLE risk_configurations DISABLE TRIGGER USER;

-- name: loosen
UPDATE risk_configurations SET max_leverage_ratio = 9 WHERE version = 2;

-- name: switch_on_risk
ALTER TABLE risk_configurations ENABLE TRIGGER _050_owner_only,
  ENABLE ALWAYS TRIGGER _100_reject_change,
  ENABLE ALWAYS TRIGGER _200_reject_truncate;

-- name: switch_off_events
ALTER TABLE order_events DISABLE TRIGGER _100_reject_change;

-- name: cut
DELETE FROM order_events WHERE id >= %(id)s;

-- name: switch_on_events
ALTER TABLE order_events ENABLE ALWAYS TRIGGER _100_reject_change;

-- name: copy_for_years
CREATE DATABASE alpha_demo_years TEMPLATE alpha_demo;

-- name: create_own
CREATE TABLE fees (asset text NOT NULL, amount decimal_28_10 NOT NULL);

-- name: chain_own
SELECT chain_table('fees');

-- name: insert_own
INSERT INTO fees VALUES ('BTC', 0.00012);

-- name: update_own
UPDATE fees SET amount = 0;

-- name: create_positions
CREATE TABLE positions (symbol text PRIMARY KEY, quantity numeric NOT NULL);

-- name: track_positions
SELECT track_table('public.positions');

-- name: first_position
INSERT INTO positions VALUES ('ETHBTC', 2.5);

-- name: second_position
UPDATE positions SET quantity = 4;

-- name: third_position
UPDATE positions SET quantity = 1.5;

-- name: switch_off_history
ALTER TABLE positions DISABLE TRIGGER USER;

-- name: behind_the_back
UPDATE positions SET quantity = 9;

-- name: switch_on_history
ALTER TABLE positions ENABLE ALWAYS TRIGGER _000_alpha_history,
  ENABLE ALWAYS TRIGGER _000_alpha_history_lock,
  ENABLE ALWAYS TRIGGER _000_alpha_history_truncate;

-- name: delete_oldest
DELETE FROM order_events WHERE id <= %(id)s;
