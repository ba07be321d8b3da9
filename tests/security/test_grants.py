"""Who may do what, as exact sets: every privilege on every object of an installation (docs/operations.md).

A migration that grants something adds it here. What is missing here or there fails.
"""

from __future__ import annotations

import pytest

from tests.security.refusals import Connection, denied, undone
from tests.support import AUDIT_TABLES, one, query

ROLES = ("alpha_owner", "app_auditor", "app_risk", "app_trading")
VIEWS = (
    "vw_kill_switch_events",
    "vw_orders_without_permission",
    "vw_rejected_attempts",
    "vw_trade_audit_full",
    "vw_unprocessed_deliveries",
)
RISK_RELATIONS = (
    "agent_revocations",
    "agents",
    "archived_segments",
    "proposals",
    "risk_asset_kill_thresholds",
    "risk_change_log",
    "risk_configurations",
    "risk_decisions",
    "votes",
    "vw_agents",
    "vw_proposals",
)
KIT_TABLES = (
    "attempt_counters",
    "chain_columns",
    "chain_starts",
    "chains",
    "checkpoint_runs",
    "guard_states",
    "installation",
    "installed_migrations",
    "lockdown_events",
    "log_nodes",
    "maintenance_events",
    "retention_policies",
    "table_changes",
    "verification_runs",
)

# grantee: {privileges: objects}
RELATIONS: dict[str, dict[str, set[str]]] = {
    "app_trading": {
        "INSERT, SELECT": {*AUDIT_TABLES, "risk_decisions"},
        "SELECT": {*VIEWS, "lockdown_alarm", "lockdown_lifted"},
        "USAGE": {f"{table}_id_seq" for table in (*AUDIT_TABLES, "risk_decisions")},
    },
    "app_auditor": {"SELECT": {*AUDIT_TABLES, *KIT_TABLES, *VIEWS, *RISK_RELATIONS}},
    "app_risk": {"SELECT": {*AUDIT_TABLES, *VIEWS, *RISK_RELATIONS}},
}
# what every application role may ask for
STATE = {
    "_sees_every_row(text[])",
    "lockdown_evidence()",
    "active_risk_state()",
    "agent_keys()",
    "lock_holders()",
    "logins_without_timeouts()",
    "_require_primary(text)",
    "heartbeat()",
    "replay_lag()",
    "lockdown_status()",
    "rejected_attempts()",
    "risk_evidence(bigint)",
    "verify_config_integrity()",
}
# what is asked of tracked tables
HISTORY = {
    "table_as_of(text,timestamp with time zone)",
    "table_history(text,text)",
    "verify_tracked(text)",
}
# what is asked before rows leave
RETENTION = {"legal_holds()", "retention_plan(timestamp with time zone,text)"}
# what proposals and votes are made and checked with
SIGNING = {
    "bootstrap_message(jsonb)",
    "damaged_rows(uuid)",
    "approval_message(uuid,uuid,text,timestamp with time zone)",
    "ed25519_verify(bytea,bytea,bytea)",
    "proposal_message(uuid,text,jsonb,text,uuid,timestamp with time zone,text)",
    "proposal_changes(uuid)",
    "proposal_progress(uuid)",
    "proposal_voters(uuid)",
}
# the Merkle logs, and what their functions call with the caller's rights
LOGS = {
    "_check_log_size(text,bigint)",
    "checkpoint_facts()",
    "consistency_proof(text,bigint,bigint)",
    "_consistency_ranges(bigint,bigint)",
    "find_log_damage(text)",
    "guards_hash()",
    "inclusion_proof(text,bigint,bigint)",
    "_is_hashes(bytea[])",
    "_log_leaves(text,bigint,bigint)",
    "_log_level(text,integer,bigint,bigint,boolean,bigint)",
    "log_root(text,bigint)",
    "merkle_logs()",
    "record_checkpoint_run()",
    "row_to_prove(text,bigint,bigint)",
    "unsealed_rows(text)",
    "_log_root_if_any(text,bigint)",
    "_log_row_hash(text,bigint)",
    "_log_stored_nodes(text,integer,bigint,bigint,boolean)",
    "_log_subtree(text,bigint,bigint,boolean)",
    "_log_tail(text)",
    "_log_unbroken_to(text,bigint)",
    "_merkle_parents(bytea)",
    "_merkle_path(bytea,integer)",
    "_merkle_root(bytea)",
    "recompute_log_root(text,bigint)",
    "recompute_block_roots(text,bigint,bigint)",
    "_refuse_leaves(text,bigint,bigint)",
    "seal_log(text,bigint)",
    "seal_logs(text,bigint,jsonb)",
    "verify_checkpoint(text,bigint,bytea,boolean)",
    "verify_consistency(bigint,bigint,bytea,bytea,bytea[])",
    "verify_inclusion(bytea,bigint,bigint,bytea[],bytea)",
    "wal_position()",
}
# what compares the guards, with the caller's rights
GUARDS = {
    "_collation_text(oid)",
    "_column_facts(_guard_relation[])",
    "_constraint_facts(_guard_relation[])",
    "_dependency_facts(_guard_relation[])",
    "_event_trigger_facts()",
    "_extension_facts()",
    "_function_facts()",
    "_grants_text(aclitem[],oid)",
    "_guard_extensions()",
    "_guard_functions()",
    "_guard_facts_json()",
    "_guard_home()",
    "_guard_members()",
    "_guard_objects(regclass)",
    "_guard_parts(_guard_relation[])",
    "_guard_relations()",
    "_guard_roles()",
    "_index_facts(_guard_relation[])",
    "_kept_elsewhere()",
    "_register_facts()",
    "_relation_facts(_guard_relation[])",
    "_right_facts(_guard_relation[])",
    "_role_facts()",
    "_schema_facts()",
    "_sequence_facts(_guard_relation[])",
    "_setting_facts()",
    "_switches_off(text,text)",
    "_trigger_facts(_guard_relation[])",
    "_type_facts()",
    "_view_facts(_guard_relation[])",
    "_view_text(oid)",
    "changed_guards()",
    "guard_facts()",
    "guards_since(bigint)",
    "verify_guards()",
}
# how the log grows and what runs out, what reports show, and what these call with the caller's rights
GROWTH = {
    "_freezing_due()",
    "_growth_of(text,interval)",
    "_growth_of_chains(interval)",
    "_last_id_before(text,timestamp with time zone)",
    "daily_activity(timestamp with time zone,timestamp with time zone)",
    "growth(interval)",
    "headroom()",
    "limits_over_time(timestamp with time zone,timestamp with time zone)",
    "report_figures(timestamp with time zone,timestamp with time zone)",
    "report_period(timestamp with time zone,timestamp with time zone)",
    "report_trades(timestamp with time zone,timestamp with time zone,integer)",
    "rows_as_hashed(text,bigint[],integer)",
    "trade_rows(uuid[])",
    "verification_activity(timestamp with time zone,timestamp with time zone)",
    "_as_jsonb(text)",
    "_ids_left()",
    "_sequences_used()",
    "_storage_setting(text[],text)",
    "_stray_facts()",
    "_vacuum_due()",
}
# the figures for monitoring, and what they call with the caller's rights
MONITORING = {
    "costly_metrics()",
    "metrics()",
    "watch_events(jsonb,integer)",
    "_figures(text[])",
    "_figures_of_attempts()",
    "_figures_of_chains()",
    "_figures_of_checkpoints()",
    "_figures_of_damage()",
    "_figures_of_growth()",
    "_figures_of_guards()",
    "_figures_of_headroom()",
    "_figures_of_lockdown()",
    "_figures_of_locks()",
    "_figures_of_place()",
    "_figures_of_proposals()",
    "_figures_of_verification()",
    "_seconds_of(timestamp with time zone)",
}
FUNCTIONS: dict[str, set[str]] = {
    "app_trading": {
        # writing
        "record_webhook(bytea,inet,text,jsonb,text,boolean)",
        "record_signal(text,text,text,anycompatible,anycompatible,jsonb,inet,boolean,uuid,bigint,anycompatible)",
        "record_ai_debate(uuid,text,jsonb,anycompatible,integer,boolean,text,anycompatible)",
        "record_order(uuid,text,text,text,anycompatible,anycompatible,text,text,text,anycompatible,text,text,anycompatible)",
        "record_order_event(bigint,text,anycompatible,anycompatible,anycompatible,jsonb,text,text,text,text,anycompatible)",
        "record_decision(uuid,text,text,anycompatible,anycompatible,anycompatible,boolean,text,text,bigint,text,text,timestamp with time zone,anycompatible)",  # noqa: E501
        "record_signals(jsonb)",
        "record_ai_debates(jsonb)",
        "record_orders(jsonb)",
        "record_order_events(jsonb)",
        # what the writing functions and the domains' CHECKs call with the writer's rights
        "_accept_retry(text,text,jsonb,jsonb)",
        "_require_same_order(text,uuid,text,text)",
        "_elements(jsonb,text[])",
        "_read_json(bytea)",
        "_refuse_decimal(numeric,text)",
        "_refuse_element(bigint,text,_problem)",
        "_refuse_float(text,regtype)",
        "_refuse_too_long(text,text[],text[])",
        "_refuse_unseen(text,text)",
        "_begin_append()",
        "_alarm_is_raised()",
        "_record_new_signals(jsonb)",
        "append_webhook(bytea,inet,text,jsonb,text,boolean,bigint,text,boolean,jsonb,text,boolean)",
        "append_signal(text,text,text,anycompatible,anycompatible,jsonb,inet,boolean,bigint,uuid,bigint,text,boolean,anycompatible)",
        "append_ai_debate(uuid,text,jsonb,anycompatible,integer,boolean,text,bigint,text,boolean,anycompatible)",
        "append_order(uuid,text,text,text,anycompatible,anycompatible,text,text,text,anycompatible,text,text,bigint,text,boolean,anycompatible)",
        "append_order_event(bigint,text,anycompatible,anycompatible,anycompatible,jsonb,text,text,text,text,uuid,bigint,text,boolean,anycompatible)",
        "append_decision(uuid,text,text,anycompatible,anycompatible,anycompatible,boolean,text,text,bigint,text,text,timestamp with time zone,bigint,text,boolean,anycompatible)",  # noqa: E501
        "append_signals(jsonb,jsonb)",
        "append_ai_debates(jsonb,jsonb)",
        "append_orders(jsonb,jsonb)",
        "append_order_events(jsonb,jsonb)",
        # rows of own tables
        "record_row(text,jsonb)",
        "append_row(text,jsonb,jsonb)",
        "_require_own_table(text)",
        "_given_members(text,jsonb)",
        "_require_exact(text,jsonb,jsonb)",
        "_refuse_inexact(text,text,jsonb,jsonb)",
        "_find_by_key(text,jsonb)",
        *STATE,
    },
    "app_auditor": {
        *STATE,
        *GUARDS,
        *SIGNING,
        *LOGS,
        *HISTORY,
        *GROWTH,
        *MONITORING,
        "_acknowledged_if_known()",
        "_ahead_of_clock(timestamp with time zone)",
        "_fill(text,text[])",
        "_known_heads()",
        "_missing_part(text)",
        "_require_chain(text)",
        "_require_register()",
        "_counters()",
        "_damage_item(text,bigint,text,text,text)",
        "_lowered_counters()",
        "acknowledged_damage()",
        "_app_role(text)",
        "chain_genesis(text)",
        "_chain_links_sql(text)",
        "_chain_or_error(text)",
        "_chain_check_sql(text)",
        "_chain_places_sql(text)",
        "_chain_parts_sql(text,bigint,bigint,integer,bigint,text,timestamp with time zone)",
        "_check_in_parts(text,bigint,bigint,integer,bigint,text,timestamp with time zone)",
        "record_verification(boolean,jsonb,bigint,integer,integer,bigint)",
        "verification_plan(boolean,integer,bigint)",
        "open_damage()",
        "standbys(pg_lsn)",
        "_verified_heads()",
        "_split_range(bigint,bigint,bigint)",
        "verify_range(text,bigint,bigint,boolean)",
        "chain_rows(text,bigint,bigint)",
        "chain_rows_sql(text)",
        "chain_status()",
        "chained_tables()",
        "find_chain_damage(text,bigint,bigint)",
        "_owner_role()",
        "verify_chain(text,bigint,bigint)",
        "_check_range_of_chain(text,bigint,bigint,bigint,text,timestamp with time zone)",
        "_gap_at_end_sql(text)",
        "_missing_end_text(text,bigint,bigint,bigint)",
        "_verdict(text,text,text)",
        "_weigh_damage(text,bigint,bigint)",
        "_with_verdict(chain_verdict,text,text,text)",
        "verify_chain_integrity(text,bigint,bigint,boolean)",
        "_archive_proposal(text,bigint,text)",
        "_chain_start(text)",
        "_proven_start(text,bigint)",
        "_prune_batch(text,integer,boolean)",
        "_was_removed(text,bigint)",
        "prune_archived(text,integer,jsonb)",
        *RETENTION,
    },
    "app_risk": {
        "open_damage()",
        "propose(uuid,text,jsonb,text,uuid,timestamp with time zone,bytea,text)",
        "vote(uuid,uuid,text,timestamp with time zone,bytea)",
        *STATE,
        *SIGNING,
        *RETENTION,
    },
}
SCHEMA = {
    "alpha_owner": "CREATE, USAGE",
    "app_auditor": "USAGE",
    "app_risk": "USAGE",
    "app_trading": "USAGE",
    # public's own; a schema made for the kit gives PUBLIC nothing
    "PUBLIC": "USAGE",
}

GRANTS = """
    select coalesce(r.rolname, 'PUBLIC') as grantee, o.name, o.owner,
           string_agg(a.privilege_type || case when a.is_grantable then '*' else '' end, ', '
                      order by a.privilege_type) as privileges
    from ({objects}) as o
    cross join lateral aclexplode(o.acl) as a
    left join pg_roles as r on r.oid = a.grantee
    where a.grantee <> o.owner
    group by 1, 2, 3 order by 1, 2
"""
RELATION_OBJECTS = """
    select c.relname::text as name, c.relowner as owner,
           coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r' end::"char", c.relowner))
             as acl
    from pg_class as c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
"""
FUNCTION_OBJECTS = """
    select p.oid::regprocedure::text as name, p.proowner as owner,
           coalesce(p.proacl, acldefault('f', p.proowner)) as acl
    from pg_proc as p where p.pronamespace = 'public'::regnamespace
"""
TYPE_OBJECTS = """
    select t.typname::text as name, t.typowner as owner,
           coalesce(t.typacl, acldefault('T', t.typowner)) as acl
    from pg_type as t where t.typnamespace = 'public'::regnamespace and t.typcategory <> 'A'
      -- pg_dump carries no rights on the row types of tables and views, so those keep the default
      and (t.typrelid = 0 or (select c.relkind = 'c' from pg_class as c where c.oid = t.typrelid))
"""
COLUMN_OBJECTS = """
    select c.relname || '.' || a.attname as name, c.relowner as owner, a.attacl as acl
    from pg_attribute as a join pg_class as c on c.oid = a.attrelid
    where c.relnamespace = 'public'::regnamespace and a.attacl is not null
"""
SCHEMA_OBJECTS = """
    select n.nspname::text as name, n.nspowner as owner, n.nspacl as acl
    from pg_namespace as n where n.nspname = 'public'
"""


def granted(connection: Connection, objects: str) -> dict[str, dict[str, set[str]]]:
    found: dict[str, dict[str, set[str]]] = {}
    for row in query(connection, GRANTS.format(objects=objects)):
        found.setdefault(row["grantee"], {}).setdefault(row["privileges"], set()).add(row["name"])
    return found


def test_relations_and_sequences(db: Connection) -> None:
    assert granted(db, RELATION_OBJECTS) == RELATIONS


def test_columns(db: Connection) -> None:
    assert granted(db, COLUMN_OBJECTS) == {}


def test_functions(db: Connection) -> None:
    assert granted(db, FUNCTION_OBJECTS) == {
        grantee: {"EXECUTE": names} for grantee, names in FUNCTIONS.items()
    }


def test_types(db: Connection) -> None:
    """Nobody makes columns of our domains but the owner."""
    assert granted(db, TYPE_OBJECTS) == {}


def test_schema(db: Connection) -> None:
    found = granted(db, SCHEMA_OBJECTS)
    assert {grantee: next(iter(privileges)) for grantee, privileges in found.items()} == SCHEMA


def test_default_privileges(db: Connection) -> None:
    assert query(db, "select * from pg_default_acl") == []


def test_everything_belongs_to_alpha_owner(db: Connection) -> None:
    """Also what a migration made in passing: nothing stays with whoever migrated."""
    others = query(
        db,
        "select c.relname::text as name from pg_class as c"
        " where c.relnamespace = 'public'::regnamespace and c.relowner <> 'alpha_owner'::regrole"
        " union all select p.oid::regprocedure::text from pg_proc as p"
        " where p.pronamespace = 'public'::regnamespace and p.proowner <> 'alpha_owner'::regrole"
        " union all select t.typname::text from pg_type as t"
        " where t.typnamespace = 'public'::regnamespace and t.typowner <> 'alpha_owner'::regrole",
    )
    assert others == []


def test_what_the_roles_can_do_in_effect(db: Connection) -> None:
    """By PostgreSQL's own answer, which counts what comes by PUBLIC and by membership too."""
    for role in ("app_trading", "app_auditor", "app_risk"):
        expected = {
            (name, privilege)
            for privileges, names in RELATIONS[role].items()
            for name in names
            for privilege in privileges.split(", ")
        }
        found = query(
            db,
            "select c.relname::text as name, p.privilege from pg_class as c"
            " cross join unnest(array['SELECT','INSERT','UPDATE','DELETE','TRUNCATE','REFERENCES','TRIGGER'])"
            "   as p(privilege)"
            " where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v')"
            "   and has_table_privilege(%(role)s, c.oid, p.privilege)"
            " union all"
            " select c.relname::text, p.privilege from pg_class as c"
            " cross join unnest(array['USAGE','SELECT','UPDATE']) as p(privilege)"
            " where c.relnamespace = 'public'::regnamespace and c.relkind = 'S'"
            "   and has_sequence_privilege(%(role)s, c.oid, p.privilege)",
            {"role": role},
        )
        assert {(row["name"], row["privilege"]) for row in found} == expected
        assert not one(db, "select has_schema_privilege(%s, 'public', 'CREATE')", [role])
        assert not one(db, "select has_database_privilege(%s, current_database(), 'CREATE')", [role])


def test_the_roles_themselves(db: Connection) -> None:
    """NOLOGIN, no attributes, members of nothing, and nobody a member of alpha_owner."""
    rows = query(
        db,
        "select rolname::text, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls,"
        " rolreplication, rolconfig from pg_roles where rolname = any (%s) order by rolname",
        [list(ROLES)],
    )
    assert [row["rolname"] for row in rows] == list(ROLES)
    for row in rows:
        assert set(list(row.values())[1:]) <= {False, None}, row
    assert (
        query(
            db,
            "select m.rolname from pg_auth_members as a join pg_roles as m on m.oid = a.member"
            " join pg_roles as g on g.oid = a.roleid"
            " where m.rolname = any (%(roles)s) or g.rolname = 'alpha_owner'",
            {"roles": list(ROLES)},
        )
        == []
    )


@pytest.mark.parametrize("object_name", [*AUDIT_TABLES, *KIT_TABLES, *VIEWS])
def test_a_login_without_roles_has_nothing(db: Connection, object_name: str) -> None:
    with undone(db):
        db.execute("create role security_nobody; set role security_nobody")
        with denied(), db.transaction():
            db.execute(f"select * from {object_name}")


def test_a_login_without_roles_calls_nothing(db: Connection) -> None:
    with undone(db):
        db.execute("create role security_nobody")
        found = query(
            db,
            "select p.oid::regprocedure::text as name from pg_proc as p"
            " where p.pronamespace = 'public'::regnamespace"
            " and has_function_privilege('security_nobody', p.oid, 'EXECUTE')",
        )
    assert found == []
