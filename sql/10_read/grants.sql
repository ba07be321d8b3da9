-- Grants. The roles are NOLOGIN; login roles are the operator's (docs/operations.md).

select _count_attempts('AUD-011', 'protected object', 'DDL');

-- UPDATE, DELETE and TRUNCATE stay revoked: PostgreSQL itself refuses them first (42501).
select _grant('select, insert on', array[c.table_name], '{app_trading}'),
       _grant('select on', array[c.table_name], '{app_auditor, app_risk}'),
       -- nextval in the default of a bigserial needs it, although the chain assigns the id.
       _grant('usage on sequence', array[c.table_name || '_id_seq'], '{app_trading}')
from only chains as c where not c.is_internal;

select _grant('select on', '{installation, installed_migrations, attempt_counters, chains, chain_columns, guard_states,
                             verification_runs, lockdown_events, maintenance_events}', '{app_auditor}');
select _grant('select on', '{vw_trade_audit_full, vw_kill_switch_events, vw_rejected_attempts}',
              '{app_trading, app_auditor, app_risk}');
select _grant('execute on routine', '{_sees_every_row, rejected_attempts, lockdown_status, lock_holders}',
              '{app_trading, app_auditor, app_risk}');

-- What the writing functions and the domains' checks call runs with the writer's rights.
select _grant('execute on routine', '{record_signal, record_ai_debate, record_order, record_order_event,
                                      append_signal, append_ai_debate, append_order, append_order_event, _begin_append,
                                      _refuse_decimal, _refuse_float, _refuse_too_long, _refuse_signal_reuse}', '{app_trading}');

-- What the verifying functions call runs with the auditor's rights.
select _grant('execute on routine', '{_fill}', '{app_auditor}');
select _grant('execute on routine', '{verify_chain_integrity, find_chain_damage, verify_chain, verify_range, changed_guards,
                                      _verified_heads, _split_range, verification_plan, record_verification, verify_guards,
                                      guard_facts, _collation_text, _switches_off, _view_text, _counters, _lowered_counters, guards_since,
                                      _guard_home, _guard_extensions, _guard_relations, _guard_functions, _guard_roles,
                                      _guard_members, _guard_parts, _schema_facts, _role_facts, _setting_facts,
                                      _relation_facts, _sequence_facts, _view_facts, _column_facts, _constraint_facts,
                                      _index_facts, _trigger_facts, _function_facts, _type_facts, _extension_facts,
                                      _dependency_facts, _withdrawn_right_facts, _register_facts, _event_trigger_facts,
                                      _grants_text, _owner_role, _app_role, chain_status, chain_rows, chain_rows_sql,
                                      _chain_check_sql, _chain_links_sql, _chain_places_sql, _chain_or_error, _require_register,
                                      _missing_part, _require_chain, _ahead_of_clock, _known_heads, chain_genesis,
                                      _verdict, _with_verdict, _check_range_of_chain, _missing_end_text, _weigh_damage,
                                      _gap_at_end_sql,
                                      _acknowledged_if_known, acknowledged_damage, _damage_item}', '{app_auditor}');
select _grant('execute on routine', '{open_damage}', '{app_auditor, app_risk}');
