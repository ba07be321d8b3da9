"""Values that Python has no value for are shown as text: one bad row never hides the others from a command."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from alpha_db import record_signal
from alpha_db.connection import connect as open_connection
from alpha_db.errors import RiskTampered
from alpha_db.risk.review import check_signed
from alpha_db.security.audit_signer import AuditSigner, digest_of, proposal_text
from tests.cli.desk import Desk
from tests.cluster import Server
from tests.risk.council import CHAINED, LIMITS, unguarded
from tests.support import Connection, make_signal, one, query, tamper

pytest_plugins = ["tests.cli.fix_desk"]

DEEP = "[" * 3000 + "]" * 3000
TIMES = ("0044-03-15 BC", "20000-01-01", "infinity", "-infinity")


def force(db: Connection, statement: str, parameters: Any = ()) -> None:
    """Run a statement with no trigger, foreign key or CHECK in its way."""
    checks = query(
        db,
        "select conrelid::regclass::text as relation, quote_ident(conname) as name from pg_constraint"
        " where contype = 'c' and conrelid = any (%s::regclass[])",
        [[*CHAINED, *LIMITS]],
    )
    for check in checks:
        db.execute(f"alter table {check['relation']} drop constraint {check['name']}")
    unguarded(db, statement, parameters)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *[(kind, value) for kind in ("timestamptz", "timestamp", "date") for value in TIMES],
        ("time", "24:00:00"),
        ("timetz", "24:00:00+02"),
        ("interval", "170000000 years"),
        ("interval", "-170000000 years"),
        ("jsonb", DEEP),
        ("json", DEEP),
    ],
)
@pytest.mark.reads_only
def test_a_value_that_python_has_not_is_text(server: Server, database: str, kind: str, value: str) -> None:
    with open_connection(server.dsn(database), autocommit=True) as conn:
        found = conn.execute(
            f"select %s::{kind}, %s::{kind}::text, array[%s::{kind}]", [value] * 3
        ).fetchone()
    assert found is not None
    assert found[0] == found[1]
    assert found[2] == [found[1]]


@pytest.mark.reads_only
def test_a_value_that_python_has_is_what_it_was(server: Server, database: str) -> None:
    statement = """
        select '2026-01-02 03:04:05.678+00'::timestamptz, '2026-01-02'::date, '1 day'::interval, '10.0.0.1'::inet,
               '{"a": [1, 2, null, {"b": "c"}]}'::jsonb, '12:00'::time, 'NaN'::numeric, '::1/64'::inet, 'null'::jsonb
    """
    with (
        open_connection(server.dsn(database)) as ours,
        Connection.connect(server.dsn(database)) as plain,
    ):
        here, there = ours.execute(statement).fetchone(), plain.execute(statement).fetchone()
    assert repr(here) == repr(there)


@pytest.mark.parametrize("kind", ["json", "jsonb"])
@pytest.mark.reads_only
def test_numbers_in_json_are_exact(server: Server, database: str, kind: str) -> None:
    """As everywhere else: no fraction becomes a float, no integer is too long."""
    digits = "7" * 5000
    with open_connection(server.dsn(database)) as conn:
        found = conn.execute(f"select %s::{kind}", [f"[0.1, 1e400, {digits}, 3]"]).fetchone()
    assert found == ([Decimal("0.1"), Decimal("1e400"), Decimal(digits), 3],)


@pytest.mark.reads_only
@pytest.mark.parametrize(
    "options", ["-cdatestyle=German", "-cintervalstyle=sql_standard", "-ctimezone=<+03>-03"]
)
def test_a_setting_of_the_session_hides_nothing(server: Server, database: str, options: str) -> None:
    with open_connection(server.dsn(database, options=options)) as conn:
        assert conn.execute("select now(), interval '1 day 2 hours'").fetchone()


def test_the_environments_encoding_hides_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that LATIN1 has no bytes for would fail the whole result (22P05)."""
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with open_connection(desk.dsn) as conn:
        assert conn.execute("select U&'\\+01F680'").fetchone() == ("\U0001f680",)


def test_the_databases_datestyle_hides_nothing(governed: Desk, db: Connection) -> None:
    """Times that are not ISO would all be text, and nothing can be added to a text."""
    db.execute(f"alter database {db.info.dbname} set datestyle = 'SQL, DMY'")
    proposal_id = governed.propose("ada", "risk", "update-param", "max_leverage_ratio", "3")
    found = governed.run("risk", "proposals", "--json").json[0]
    assert found["proposal_id"] == proposal_id
    assert found["expires_at"][10] == "T"


def test_a_writer_gives_back_the_text_of_a_payload_that_python_cannot_read(
    server: Server, database: str
) -> None:
    payload = f'{{"deep": {DEEP}}}'
    with open_connection(server.dsn(database), autocommit=True) as conn:
        row = record_signal(
            conn, signal_id="x", symbol="X", side="BUY", price="1", quantity="1", raw_payload=payload
        )
        assert row["raw_payload"] == one(conn, "select raw_payload::text from signals")


def test_limits_that_hold_from_no_time_are_tampered_with(governed: Desk, db: Connection) -> None:
    force(db, "update risk_configurations set valid_from = 'infinity'")
    force(db, "update risk_change_log set created_at = 'infinity'")
    found = governed.run("risk", "get-config", "--json", expect=1).json
    assert "is no time" in found["problem"]


@pytest.fixture
def crowded(governed: Desk, db: Connection) -> tuple[Desk, str, str]:
    """Two proposals, of which the first (and a vote on it) has times that no reader was made for."""
    bad, good = (
        governed.propose("ada", "risk", "update-param", "max_leverage_ratio", value) for value in ("3", "1.5")
    )
    force(
        db,
        "update proposals set created_at = '0044-03-15 BC', expires_at = '20000-01-01' where proposal_id = %s",
        [bad],
    )
    copied = [row["column_name"] for row in query(
        db, "select column_name::text from information_schema.columns where table_name = 'votes'"
    )]  # fmt: skip
    changed = {
        "id": "(select max(id) + 1 from votes)",
        "proposal_id": "p.proposal_id",
        "digest": "p.digest",
        "signed_at": "'0044-03-15 BC'::timestamptz",
        "created_at": "'infinity'::timestamptz",
    }
    values = ", ".join(changed.get(name, f"v.{name}") for name in copied)
    force(
        db,
        f"insert into votes ({', '.join(copied)}) select {values} from votes as v, proposals as p"
        " where p.proposal_id = %s order by v.id limit 1",
        [bad],
    )
    return governed, bad, good


def test_proposals_are_listed_beside_one_with_odd_times(crowded: tuple[Desk, str, str]) -> None:
    desk, bad, good = crowded
    listed = desk.run("risk", "proposals").out
    assert bad in listed
    assert good in listed
    assert "20000-01-01" in listed
    found = {row["proposal_id"]: row for row in desk.run("risk", "proposals", "--all", "--json").json}
    assert found[bad]["expires_at"].startswith("20000-01-01")
    assert found[bad]["created_at"].endswith("BC")


def test_a_proposal_with_odd_times_can_be_rejected(crowded: tuple[Desk, str, str]) -> None:
    desk, bad, _ = crowded
    shown = desk.run("risk", "reject", bad, *desk.sign("cyd")).out
    assert "Rejected" in shown
    assert "0044-03-15" in shown


def test_others_can_be_approved_beside_it(crowded: tuple[Desk, str, str]) -> None:
    desk, _, good = crowded
    assert desk.approve(good, "ben") == ["APPLIED"]


@pytest.mark.parametrize(
    "moment", [TIMES[0], *(pytest.param(moment, marks=pytest.mark.long) for moment in TIMES[1:3]), TIMES[3]]
)
def test_commands_show_rows_with_odd_times(governed: Desk, db: Connection, moment: str) -> None:
    make_signal(db)
    force(db, f"update agents set created_at = '{moment}'")
    force(db, f"update risk_change_log set created_at = '{moment}'")
    force(db, f"update risk_configurations set valid_from = '{moment}', created_at = '{moment}'")
    tamper(db, f"update signals set created_at = '{moment}'")
    for command in ("agents list --all", "risk history", "status", "risk get-config"):
        for option in ([], ["--json"]):
            assert governed.run(*command.split(), *option, expect=None).code in (0, 1)


def test_history_goes_on_behind_an_entry_that_cannot_be_read(governed: Desk, db: Connection) -> None:
    applied = governed.propose("ada", "risk", "update-param", "max_leverage_ratio", "1.5")
    governed.approve(applied, "ben")
    force(db, "update risk_change_log set state_text = %s where version = 1", [DEEP])
    shown = governed.run("risk", "history").out
    assert "cannot be read" in shown
    assert "max_leverage_ratio none → 1.50" in shown


def test_only_a_rejection_may_be_of_a_text_that_cannot_be_read() -> None:
    signer = AuditSigner.generate()
    text = proposal_text(
        origin="o", proposal_id=uuid4(), kind="risk_config", previous="", payload=DEEP, reason="r",
        proposer=uuid4(), expires_at="2026-01-01T00:00:00.000000Z",
    )  # fmt: skip
    row = {"signed_text": text, "digest": digest_of(text)}
    stored = {"proposer_key": bytes.fromhex(signer.public_key_hex), "signature": signer.sign(text)}
    known: dict[str, Any] = {"origin": "o", "keys": {}}
    assert check_signed(row, stored, must_be_readable=False, **known) is None
    with pytest.raises(RiskTampered, match="cannot be read"):
        check_signed(row, stored, must_be_readable=True, **known)
    with pytest.raises(RiskTampered, match="signature"):
        check_signed(row, stored | {"signature": signer.sign("x")}, must_be_readable=False, **known)


def test_a_proposal_that_cannot_be_read_is_listed(governed: Desk, db: Connection) -> None:
    bad = governed.propose("ada", "risk", "update-param", "max_leverage_ratio", "3")
    force(db, "update proposals set payload = %s::jsonb where proposal_id = %s", [DEEP, bad])
    assert bad in governed.run("risk", "proposals").out
    assert governed.run("risk", "proposals", "--json").json[0]["payload"] == DEEP


def test_a_state_that_cannot_be_read_is_told_and_not_a_crash(governed: Desk, db: Connection) -> None:
    force(db, "update risk_change_log set approvals = %s::jsonb", [DEEP])
    assert "RSK-007" in governed.run("risk", "get-config", expect=1).out
    governed.run("risk", "history")


def test_damage_that_cannot_be_read_is_shown_as_text(desk: Desk, db: Connection) -> None:
    make_signal(db)
    tamper(db, "update signals set price = 2")
    desk.run("verify-chain", expect=1)
    tamper(db, f"update lockdown_events set damage = '{DEEP}'")
    shown = desk.run("lockdown", "status", expect=None)
    assert shown.code in (1, 3)
    assert shown.out.count("damage") <= 1


def test_a_row_with_odd_times_is_exported(desk: Desk, db: Connection) -> None:
    make_signal(db, 1)
    make_signal(db, 2)
    tamper(db, "update signals set created_at = 'infinity' where id = 2")
    target = desk.folder / "signals.jsonl"
    desk.run("export", "--table", "signals", "--output", str(target), expect=1)
    assert '"created_at":"infinity"' in target.read_text().replace("\\", "")


def test_status_shows_the_rest_where_the_installation_has_no_identity(trio: Desk, db: Connection) -> None:
    with db.transaction():
        db.execute("alter table installation disable trigger all")
        db.execute("delete from installation")
    found = trio.run("status", "--json", expect=1).json
    assert "no row of installation" in found["unavailable"]["installation"]
    assert found["lockdown"]["is_locked"] is False
    assert found["guards"]
