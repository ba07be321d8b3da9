-- Grants. The roles are NOLOGIN; login roles are the operator's (docs/operations.md).
--
-- app_trading writes the audit log, app_auditor reads and verifies everything, app_risk proposes and votes. A function
-- that runs with its caller's rights needs a grant for each function that it calls: those begin with _. Grants on what
-- later migrations make stand there. tests/security/test_grants.py states the exact sets.

select _count_attempts('AUD-011', 'protected object', 'DDL');

-- Tables and views

-- UPDATE, DELETE and TRUNCATE stay revoked: PostgreSQL itself refuses them first (42501).
select _grant('select, insert on', array[c.table_name], '{app_trading}'),
       _grant('select on', array[c.table_name], '{app_auditor, app_risk}'),
       -- nextval in the default of a bigserial needs it, although the chain assigns the id.
       _grant('usage on sequence', array[c.table_name || '_id_seq'], '{app_trading}')
from only chains as c where not c.is_internal;

-- The alarm's two numbers, for writers, who look for a retry's row first while it is raised.
select _grant('select on sequence', '{lockdown_alarm, lockdown_lifted}', '{app_trading}');

select _grant('select on', '{installation, installed_migrations, attempt_counters, chains, chain_columns, chain_starts,
                             guard_states, verification_runs, lockdown_events, maintenance_events}',
              '{app_auditor}');
select _grant('select on', '{vw_trade_audit_full, vw_kill_switch_events, vw_unprocessed_deliveries,
                             vw_rejected_attempts}',
              '{app_trading, app_auditor, app_risk}');

-- Functions for everyone with one of our roles

select _grant('execute on routine', '{_sees_every_row, rejected_attempts, lockdown_status,
                                      lock_holders, replay_lag, heartbeat, _require_primary,
                                      logins_without_timeouts}',
              '{app_trading, app_auditor, app_risk}');

-- Writing, and what the writing functions and the domains' checks call

select _grant('execute on routine', '{record_webhook, record_signal, record_ai_debate, record_order,
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

select _grant('execute on routine', '{verify_chain_integrity, verify_range, verify_chain,
                                      find_chain_damage, acknowledged_damage, verification_plan,
                                      record_verification, chain_status, chain_rows, chain_rows_sql,
                                      chain_genesis, standbys}',
              '{app_auditor}');
select _grant('execute on routine', '{open_damage}', '{app_auditor, app_risk}');
select _grant('execute on routine', '{_fill, _owner_role, _app_role, _chain_or_error,
                                      _require_register, _require_chain, _missing_part,
                                      _ahead_of_clock, _known_heads, _verified_heads, _split_range,
                                      _chain_check_sql, _chain_links_sql, _chain_places_sql,
                                      _gap_at_end_sql, _acknowledged_if_known, _damage_item,
                                      _weigh_damage, _verdict, _with_verdict, _check_range_of_chain,
                                      _missing_end_text, _chain_parts_sql, _check_in_parts,
                                      _chain_start, _proven_start, _archive_proposal, _was_removed}',
              '{app_auditor}');

-- Comparing the guards, and what that calls

select _grant('execute on routine', '{verify_guards, guards_since, changed_guards, guard_facts}', '{app_auditor}');
select _grant('execute on routine', '{_counters, _lowered_counters, _grants_text, _collation_text,
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
