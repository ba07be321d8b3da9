"""Nothing but an approved proposal changes these tables: not the owner, not replica mode, not a race."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.chain.by_force import shared
from tests.cluster import Server
from tests.fix_database import Connect, Prepared
from tests.risk.conftest import governed_book, named
from tests.risk.council import (
    CHAINED,
    LIMITS,
    Council,
    agent,
    agent_id,
    code_of,
    limits,
    private_key,
    public_hex,
    threshold,
    unguarded,
)
from tests.support import Connection, as_role, assert_healthy, one, query, tamper


def _be_busy(connection: Connection) -> None:
    council = named(connection)
    council.enact("agent_enrol", agent("dan") | {"replaces": None}, "ada", "ben", "cyd")
    council.enact("agent_revoke", {"agent_id": str(agent_id("dan"))}, "ada", "ben", "cyd")
    council.enact("asset_kill_threshold", threshold(), "ada", "ben")
    council.vote(council.propose("risk_config", limits("0.5"), "ada"), "ben")


@pytest.fixture
def origin(request: pytest.FixtureRequest, prepared: Prepared, origin: str) -> str:
    return prepared("risk_busy", _be_busy, origin) if "busy" in request.fixturenames else origin


@pytest.fixture
def busy(governed: Council) -> Council:
    """Every table has a row, and a proposal with a vote is pending."""
    return governed


@pytest.fixture(scope="module")
def still(server: Server, prepared: Prepared) -> Iterator[Council]:
    """The same, where every statement fails and so changes nothing."""
    busy = prepared("risk_busy", _be_busy, governed_book(prepared))
    with shared(server, prepared, busy, "risk_busy_still") as connection:
        yield named(connection)


def columns(connection: Connection, table: str) -> list[str]:
    found = query(
        connection,
        "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped"
        " order by attnum",
        [table],
    )
    return [row["attname"] for row in found]


WAYS = [(role, mode) for role in ("alpha_owner", "postgres") for mode in ("origin", "replica")]


@pytest.mark.parametrize("table", [*CHAINED, *LIMITS])
def test_update_delete_and_truncate_are_refused(busy: Council, table: str) -> None:
    db = busy.connection
    before = query(db, f"select * from {table}")
    assert before
    for role, mode in WAYS:
        db.execute(f"set session_replication_role = {mode}")
        with as_role(db, role):
            for statement in (
                *(f"update {table} set {name} = {name}" for name in columns(db, table)),
                f"delete from {table}",
                f"truncate {table} cascade",
                f"insert into {table} select * from {table}",
            ):
                with pytest.raises(psycopg.Error) as caught:
                    db.execute(statement)
                # one of the cascade's tables may come first, and the chain's own refusal of an id before RSK-002
                assert caught.value.sqlstate in ("RSK02", "AUD11", "23505"), (statement, caught.value)
                if statement.startswith(("update", "delete")):
                    assert caught.value.sqlstate == "RSK02"
    db.execute("reset session_replication_role")
    assert query(db, f"select * from {table}") == before
    assert_healthy(db)


FORGED = {
    "limits": "insert into risk_configurations (max_leverage_ratio, reason_for_change, approved_by_agent_id,"
    " valid_from, version, proposal_id, state_hash) select 99, 'x', approved_by_agent_id, clock_timestamp(), 99,"
    " proposal_id, state_hash from risk_configurations",
    "older limits": "insert into risk_configurations (reason_for_change, approved_by_agent_id, valid_from, valid_to,"
    " version, proposal_id, state_hash) select 'x', approved_by_agent_id, '2020-01-01', '2020-01-02', 0, proposal_id,"
    " state_hash from risk_configurations",
    "future limits": "insert into risk_configurations (reason_for_change, approved_by_agent_id, valid_from,"
    " version, proposal_id, state_hash, prev_to) select reason_for_change, approved_by_agent_id, valid_from"
    " + interval '1 day', version, proposal_id, state_hash, valid_from + interval '1 day' from risk_configurations",
    "end of limits": "update risk_configurations set valid_to = clock_timestamp() where valid_to is null",
    "end of limits, as of the last change": "update risk_configurations set valid_to ="
    " (select created_at from risk_change_log order by id desc limit 1) where valid_to is null",
    "threshold": "insert into risk_asset_kill_thresholds (asset, kill_loss_pct, reason_for_change,"
    " approved_by_agent_id, valid_from, version, proposal_id, state_hash) select 'ETH', 1, reason_for_change,"
    " approved_by_agent_id, valid_from, version, proposal_id, state_hash from risk_asset_kill_thresholds",
    "log entry": "insert into risk_change_log (version, proposal_id, digest, kind, approved_by, approvals, previous,"
    " state_text, state_hash) select 5, p.proposal_id, p.digest, p.kind, v.agent_id, '[]', p.previous,"
    " _next_state_text(_current_state_text(), p.kind, p.payload),"
    " _text_digest(_next_state_text(_current_state_text(), p.kind, p.payload))"
    " from proposals as p join votes as v using (proposal_id) order by p.id desc limit 1",
    "agent": "insert into agents (agent_id, name, role, public_key)"
    f" values (gen_random_uuid(), 'x', 'x', decode('{public_hex(private_key('x'))}', 'hex'))",
    "agent of an old proposal": "insert into agents (agent_id, name, role, public_key, proposal_id)"
    " select gen_random_uuid(), 'x', 'x',"
    f" decode('{public_hex(private_key('x'))}', 'hex'), proposal_id from proposals limit 1",
    "revocation": "insert into agent_revocations (agent_id, proposal_id)"
    " select a.agent_id, p.proposal_id from agents as a cross join proposals as p where a.name = 'ben' limit 1",
}


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(statement, id=name, marks=pytest.mark.long if name in ("older limits", "agent") else ())
        for name, statement in FORGED.items()
    ],
)
def test_forged_rows_are_refused(busy: Council, statement: str) -> None:
    db = busy.connection
    state = busy.state()["state_text"]
    for role, mode in WAYS:
        db.execute(f"set session_replication_role = {mode}")
        with as_role(db, role), pytest.raises(psycopg.Error) as caught:
            db.execute(statement)
        if mode == "replica" and caught.value.sqlstate == "23502":
            # triggers of chained tables are silent there, as for a subscriber: no row without its hash
            assert caught.value.diag.column_name == "row_hash"
        else:
            assert code_of(caught) == "RSK-002"
    db.execute("reset session_replication_role")
    assert busy.state()["state_text"] == state
    assert_healthy(db)


def test_a_forged_log_entry_under_a_complete_quorum_still_leads_where_it_should(busy: Council) -> None:
    """The owner may insert the entry that vote() would have inserted, and no other."""
    db = busy.connection
    proposal_id = busy.propose("risk_config", limits("0.6"), "ada")
    busy.vote(proposal_id, "ben")
    with as_role(db, "alpha_owner"), pytest.raises(psycopg.Error) as caught:
        query(
            db,
            "insert into risk_change_log (version, proposal_id, digest, kind, approved_by, approvals, previous,"
            " state_text, state_hash) select 5, proposal_id, digest, kind, %s, '[]', previous, t.text,"
            " _text_digest(t.text) from proposals, _state_text(5, %s, '[]') as t(text) where proposal_id = %s",
            [agent_id("ben"), Jsonb(limits("1")), proposal_id],
        )
    assert code_of(caught) == "RSK-002"


# --------------------------------------------------------------------------------------------------
# Constraints that hold even where every trigger is off


COPY_OF_LIMITS = (
    "insert into risk_configurations (id, reason_for_change, approved_by_agent_id, valid_from, valid_to, prev_to,"
    " version, proposal_id, state_hash{more}) select gen_random_uuid(), reason_for_change, approved_by_agent_id,"
    " {valid_from}, {valid_to}, {prev_to}, version + 1, proposal_id, state_hash{values}"
    " from risk_configurations where valid_to is null"
)


def copy_of_limits(
    valid_from: str = "valid_from + interval '1 s'",
    valid_to: str = "null",
    prev_to: str = "null",
    more: str = "",
    values: str = "",
) -> str:
    return COPY_OF_LIMITS.format(
        valid_from=valid_from, valid_to=valid_to, prev_to=prev_to, more=more, values=values
    )


LATER, MUCH_LATER = "valid_from + interval '1 day'", "valid_from + interval '2 days'"


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        (copy_of_limits(), "idx_active_config"),
        (copy_of_limits("valid_from", LATER), "risk_configurations_valid_from_key"),
        (copy_of_limits(LATER, MUCH_LATER), "risk_configurations_prev_to_key"),
        (copy_of_limits(LATER, MUCH_LATER, "valid_from"), "risk_configurations_begins_at_prev_to"),
        (copy_of_limits(LATER, "valid_from", LATER), "risk_configurations_ends_after_it_begins"),
        (copy_of_limits(LATER, "'infinity'", LATER), "risk_configurations_is_finite"),
        (
            copy_of_limits(LATER, MUCH_LATER, LATER, ", max_leverage_ratio", ", 100.01"),
            "risk_configurations_max_leverage_ratio_bounds",
        ),
        (
            copy_of_limits(LATER, MUCH_LATER, LATER, ", max_position_size_pct", ", -0.01"),
            "risk_configurations_max_position_size_pct_bounds",
        ),
        (
            copy_of_limits(LATER, MUCH_LATER, LATER, ", daily_drawdown_limit_pct", ", 1.01"),
            "risk_configurations_daily_drawdown_limit_pct_bounds",
        ),
        (
            "update risk_asset_kill_thresholds set kill_price = 0",
            "risk_asset_kill_thresholds_kill_price_bounds",
        ),
        (
            "update risk_asset_kill_thresholds set kill_loss_pct = 1.0001",
            "risk_asset_kill_thresholds_kill_loss_pct_bounds",
        ),
        (
            "insert into risk_asset_kill_thresholds (asset, kill_loss_pct, reason_for_change, approved_by_agent_id,"
            " valid_from, prev_to, version, proposal_id, state_hash) select asset, kill_loss_pct, reason_for_change,"
            " approved_by_agent_id, valid_from + interval '1 s', valid_from + interval '1 s', 99, proposal_id,"
            " state_hash from risk_asset_kill_thresholds",
            "risk_asset_kill_thresholds_asset_valid_to_key",
        ),
    ],
)
def test_constraints_hold_without_triggers(still: Council, statement: str, constraint: str) -> None:
    with pytest.raises(psycopg.errors.IntegrityError) as caught:
        unguarded(still.connection, statement)
    assert caught.value.diag.constraint_name == constraint


@pytest.mark.parametrize(
    "value", ["'NaN'", "'Infinity'", "'-Infinity'", "0.00001", "1234", "1e-5", "0.99999"]
)
@pytest.mark.parametrize(
    "column", ["max_position_size_pct", "daily_drawdown_limit_pct", "max_leverage_ratio"]
)
def test_a_column_holds_exact_limits_only(still: Council, column: str, value: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        unguarded(still.connection, f"update risk_configurations set {column} = {value}")
    assert code_of(caught) == "RSK-001"
    assert "AUD" not in str(caught.value)


def test_no_parameter_is_null(still: Council) -> None:
    for column in ("max_position_size_pct", "daily_drawdown_limit_pct", "max_leverage_ratio"):
        with pytest.raises(psycopg.errors.NotNullViolation):
            unguarded(still.connection, f"update risk_configurations set {column} = null")


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("update proposals set signature = decode(repeat('00', 64), 'hex')", "proposals_signature_is_valid"),
        ("update proposals set reason = 'another'", "proposals_signed_text_is_exact"),
        (
            'update proposals set payload = payload || \'{"max_leverage_ratio": "99"}\'',
            "proposals_signed_text_is_exact",
        ),
        ("update proposals set signed_text = signed_text || ' '", "proposals_digest_is_of_text"),
        ("update proposals set digest = repeat('0', 64)", "proposals_digest_is_of_text"),
        (
            "update votes set signature = (select v.signature from votes as v where v.id = 1) where id = 2",
            "votes_signature_is_valid",
        ),
        ("update votes set decision = 'REJECT'", "votes_signed_text_is_exact"),
        (
            "update votes set agent_id = (select agent_id from agents where id = 1)",
            "votes_signed_text_is_exact",
        ),
        (
            "update agents set public_key = decode(repeat('00', 32), 'hex') where id = 4",
            "agents_public_key_is_strong",
        ),
        (
            "update risk_change_log set state_text = state_text || ' '",
            "risk_change_log_state_hash_is_of_text",
        ),
    ],
)
def test_signatures_stand_in_checks(still: Council, statement: str, constraint: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        unguarded(still.connection, statement)
    assert caught.value.diag.constraint_name == constraint


def test_a_key_replaced_in_agents_breaks_the_keys_that_refer_to_it(still: Council) -> None:
    other = agent("mallory")["public_key"]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        unguarded(
            still.connection,
            "update agents set public_key = decode(%s, 'hex') where id = 1",
            [other],
            replica=False,
        )


# --------------------------------------------------------------------------------------------------
# What is changed by force is found


def test_a_changed_limit_is_found(governed: Council) -> None:
    unguarded(governed.connection, "update risk_configurations set max_leverage_ratio = 99")
    rows = query(governed.connection, "select * from verify_config_integrity()")
    assert [row["source"] for row in rows] == ["stored", "recomputed", "replayed"]
    assert [row["is_valid"] for row in rows] == [False, False, False]
    assert rows[0]["hash"] == rows[2]["hash"] != rows[1]["hash"]


@pytest.mark.parametrize("kind", ["risk_config", "asset_kill_threshold"])
def test_nothing_is_built_on_a_changed_limit(governed: Council, kind: str) -> None:
    payload = limits("0.01") if kind == "risk_config" else threshold()
    proposal_id = governed.propose(kind, payload, "ada")
    unguarded(governed.connection, "update risk_configurations set max_leverage_ratio = 99")
    with pytest.raises(psycopg.Error) as caught:
        governed.vote(proposal_id, "ben")
    assert code_of(caught) == "RSK-007"
    assert governed.status(proposal_id) == "PENDING"


def test_a_consistently_changed_state_is_found_by_the_replay(governed: Council) -> None:
    unguarded(
        governed.connection,
        "with c as (update risk_configurations set max_leverage_ratio = 99)"
        " update risk_change_log set state_text = replace(state_text, '2.00', '99.00'),"
        " state_hash = _text_digest(replace(state_text, '2.00', '99.00'))",
    )
    rows = query(governed.connection, "select * from verify_config_integrity()")
    assert rows[0]["hash"] == rows[1]["hash"] != rows[2]["hash"]
    assert not any(row["is_valid"] for row in rows)


def test_a_removed_row_is_found(governed: Council) -> None:
    unguarded(governed.connection, "delete from risk_configurations")
    assert not any(
        row["is_valid"] for row in query(governed.connection, "select * from verify_config_integrity()")
    )


def test_a_swapped_approval_is_found_by_the_replay(governed: Council) -> None:
    tamper(
        governed.connection,
        "update risk_change_log set approvals = jsonb_set(approvals, '{0,signature}', approvals #> '{1,signature}')",
    )
    rows = query(governed.connection, "select * from verify_config_integrity()")
    assert rows[2]["hash"] is None
    assert not any(row["is_valid"] for row in rows)


@pytest.mark.parametrize(
    "approvals",
    [
        "'[]'",
        "approvals - 0",
        "jsonb_build_array(approvals -> 0, approvals -> 0)",
    ],
    ids=["none", "one too few", "the same twice"],
)
def test_an_incomplete_quorum_in_the_log_is_found_by_the_replay(governed: Council, approvals: str) -> None:
    tamper(governed.connection, f"update risk_change_log set approvals = {approvals}")
    assert not all(
        row["is_valid"] for row in query(governed.connection, "select * from verify_config_integrity()")
    )


def test_a_payload_that_was_not_signed_is_found_by_the_replay(governed: Council) -> None:
    """The CHECK is dropped, payload, limits and log are changed to fit one another: the signed text is not."""
    db = governed.connection
    query(db, "alter table proposals drop constraint proposals_signed_text_is_exact")
    unguarded(
        db,
        "with p as (update proposals set payload = jsonb_set(payload, '{max_leverage_ratio}', '\"99\"')),"
        " c as (update risk_configurations set max_leverage_ratio = 99)"
        " update risk_change_log set state_text = replace(state_text, '2.00', '99.00'),"
        " state_hash = _text_digest(replace(state_text, '2.00', '99.00'))",
    )
    assert not all(row["is_valid"] for row in query(db, "select * from verify_config_integrity()"))


def test_a_key_that_was_never_enrolled_is_found_by_the_replay(governed: Council) -> None:
    """A log whose approvals are signed, by the right names, with keys of the forger's own."""
    mallory, db = private_key("mallory"), governed.connection
    (entry,) = query(db, "select digest, approvals from risk_change_log")
    origin = one(db, "select installation_id from installation")
    forged = [
        a
        | {
            "public_key": public_hex(mallory),
            "signature": mallory.sign(
                f'alpha-db/approval/v1\norigin: "{origin}"\ndecision: "APPROVE"\ndigest: "{entry["digest"]}"\n'
                f'agent: "{a["agent_id"]}"\nsigned_at: "{a["signed_at"]}"\n'.encode()
            ).hex(),
        }
        for a in entry["approvals"]
    ]
    tamper(db, "update risk_change_log set approvals = %s", [Jsonb(forged[:1] + entry["approvals"][1:])])
    assert not all(row["is_valid"] for row in query(db, "select * from verify_config_integrity()"))


# --------------------------------------------------------------------------------------------------
# Dump and restore


def test_a_dump_restores_and_consensus_goes_on(
    busy: Council, server: Server, database: str, connect: Connect, empty_database: str, tmp_path: Any
) -> None:
    server.program("pg_dump", "-f", tmp_path / "dump.sql", "-d", server.dsn(database))
    server.psql(empty_database, "-1", "-o", tmp_path / "out", "-f", tmp_path / "dump.sql")
    restored = busy.through(connect(dbname=empty_database))
    assert restored.state()["state_hash"] == busy.state()["state_hash"]
    assert all(
        row["is_valid"] for row in query(restored.connection, "select * from verify_config_integrity()")
    )
    pending = one(restored.connection, "select proposal_id from vw_proposals where status = 'PENDING'")
    assert restored.vote(pending, "cyd") == "APPLIED"
    assert_healthy(restored.connection)
