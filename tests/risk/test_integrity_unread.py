"""alpha-db risk verify: what is gone does not hold, what cannot be read is not known, and neither hides the others."""

from __future__ import annotations

import pytest

from tests.cli.desk import Desk
from tests.fix_database import Prepared
from tests.risk.council import Council, limits
from tests.support import Connection, query

pytest_plugins = ["tests.cli.fix_desk"]

HIDE = "alter table {0} enable row level security; alter table {0} force row level security"


@pytest.fixture
def origin(prepared: Prepared) -> str:
    def govern(connection: Connection) -> None:
        Council(connection).bootstrap("ada", "ben", "cyd").enact("risk_config", limits(), "ada", "ben", "cyd")

    return prepared("unread_book", govern)


def found(connection: Connection) -> dict[str, bool | None]:
    return {
        row["source"]: row["is_valid"] for row in query(connection, "select * from verify_config_integrity()")
    }


@pytest.mark.parametrize(
    ("table", "source"),
    [("risk_configurations", "recomputed"), ("risk_change_log", "stored"), ("votes", "replayed")],
)
def test_what_is_gone_does_not_hold(desk: Desk, db: Connection, table: str, source: str) -> None:
    query(db, f"alter table {table} rename to elsewhere")
    assert found(db)[source] is False
    ended = desk.run("risk", "verify", "--json", expect=1)
    assert (ended.json["is_valid"], ended.json["error_code"]) == (False, "RSK-007")
    assert [row["source"] for row in ended.json["sources"]] == [
        "stored",
        "recomputed",
        "replayed",
        "this program",
    ]


@pytest.mark.parametrize(
    ("table", "source"),
    [("risk_configurations", "recomputed"), ("risk_change_log", "stored"), ("votes", "replayed")],
)
def test_what_cannot_be_read_is_not_known(desk: Desk, db: Connection, table: str, source: str) -> None:
    query(db, HIDE.format(table))
    assert found(db)[source] is None
    assert False not in found(db).values()
    ended = desk.run("risk", "verify", "--json", expect=3)
    assert (ended.json["is_valid"], ended.json["error_code"]) == (None, None)
    assert "nothing is known" in desk.run("risk", "verify", expect=3).out


def test_what_cannot_be_read_hides_no_damage(desk: Desk, db: Connection) -> None:
    query(db, HIDE.format("votes"))
    query(db, "set session_replication_role = replica; alter table risk_configurations disable trigger all")
    query(db, "update risk_configurations set max_leverage_ratio = 3")
    assert found(db) == {"stored": False, "recomputed": False, "replayed": None}
    desk.run("risk", "verify", expect=1)
