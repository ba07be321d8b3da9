"""A log is recomputed over several connections, from its rows alone, with the verdict of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from alpha_db.errors import ConnectionFailed
from alpha_db.evidence.checkpoint import blocks
from alpha_db.evidence.checkpoint.blocks import Hands, read_blocks, root_of, roots_at
from alpha_db.evidence.checkpoint.create import create
from alpha_db.evidence.checkpoint.history import read_history
from alpha_db.evidence.checkpoint.keys import SigningKey
from alpha_db.evidence.checkpoint.store import Store
from alpha_db.evidence.checkpoint.verify import compare
from alpha_db.installation import locate
from tests.cluster import Server
from tests.merkle.logs import forge
from tests.support import Connection, fill, one, query, tamper

# The command line and the files; the SQL behind them is tested on every server elsewhere.
pytestmark = pytest.mark.any_server

SIZES = (255, 256, 257, 700, 1_023, 1_024, 1_100)


@pytest.fixture(autouse=True)
def _short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small log is read in several statements."""
    monkeypatch.setattr(blocks, "STEP", 512)
    monkeypatch.setattr(blocks, "ENDS", 2)


@pytest.fixture
def origin(prepared: Callable[..., str]) -> str:
    """A database with 1,100 signals."""

    def pour(connection: Connection) -> None:
        query(
            connection,
            "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
            " select 'tv-' || n, 'BTCUSD', 'BUY', n, 1, '{}' from generate_series(1, 1100) as n",
        )

    return prepared("side_by_side", pour)


class Opened:
    """Connections that were opened, and the rows that they said are read."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.count = 0
        self.told: list[tuple[int, int]] = []

    def __call__(self) -> Connection:
        self.count += 1
        return psycopg.connect(self.dsn, autocommit=True)

    def hands(self, **changes: Any) -> Hands:
        given: dict[str, Any] = {"connect": self, "jobs": 2}
        given["on_progress"] = lambda *told: self.told.append(told)
        return Hands(**(given | changes))


@pytest.fixture
def opened(db: Connection, server: Server) -> Opened:
    return Opened(server.dsn(db.info.dbname))


@pytest.fixture
def compared(db: Connection, opened: Opened, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Make two checkpoints, and return the finding on signals."""
    key = SigningKey.generate("audit.example.org/trading")
    store = Store(tmp_path)
    for _ in range(2):
        create(db, locate(db), key, store, progress=lambda *_: None)
        fill(db, signals=1)

    def finding(**options: Any) -> dict[str, Any]:
        history = read_history(store, [key.trusted])
        options.setdefault("hands", opened.hands())
        found = compare(db, str(tmp_path), history, table="signals", **options)
        (row,) = found.results
        return row

    return finding


def test_every_size_has_the_root_that_the_database_says(db: Connection, opened: Opened) -> None:
    found = read_blocks(db, "signals", 1_100, opened.hands())
    assert found
    assert len(found) == 5
    roots = [bytes(one(db, "select recompute_log_root('signals', %s)", [size])) for size in SIZES]
    assert list(roots_at(db, "signals", found, SIZES, opened.hands())) == roots
    assert root_of(found) == roots[-1]
    assert opened.count == 4


def test_what_is_as_signed_is_told_as_one_session_tells_it(
    db: Connection, compared: Callable[..., dict[str, Any]], opened: Opened
) -> None:
    found = compared()
    assert found == compared(hands=None)
    assert (found["verdict"], found["rows_checked"]) == ("intact", 1_101)
    assert found["detail"] == "1101 rows, as the checkpoint says, and 1 older checkpoint"
    verdict = query(
        db, "select * from verify_checkpoint('signals', 1100, recompute_log_root('signals', 1100))"
    )
    assert {name: found[name] for name in ("is_valid", "first_id")} == {
        name: verdict[0][name] for name in ("is_valid", "first_id")
    }
    assert opened.told[-1] == (1_101, 1_101)


DAMAGE = {
    "a hash": ("update signals set row_hash = repeat('a', 64) where id = 600", "checkpoint_mismatch"),
    "what is no hash": (
        "update signals set row_hash = repeat('x', 64) where id = 600",
        "checkpoint_mismatch",
    ),
    "a row is gone": ("delete from signals where id = 600", "missing_rows"),
    "the tail is gone": ("delete from signals where id > 600", "tail_missing"),
}


@pytest.mark.parametrize(
    "damage",
    [pytest.param(name, marks=pytest.mark.long if name == "what is no hash" else ()) for name in DAMAGE],
)
def test_damage_is_judged_by_the_database_and_locks(
    db: Connection, compared: Callable[..., dict[str, Any]], damage: str
) -> None:
    statement, verdict = DAMAGE[damage]
    tamper(db, statement)
    found = compared()
    assert (found["verdict"], found["error_code"]) == (verdict, "AUD-009")
    assert one(db, "select is_locked from lockdown_status()") is True


def test_stored_nodes_are_not_believed(db: Connection, compared: Callable[..., dict[str, Any]]) -> None:
    """Neither do right ones hide a row that was changed, nor do wrong ones harm."""
    forge(db, "update log_nodes set hash = sha256('x')")
    assert compared()["verdict"] == "intact"
    tamper(db, "update signals set row_hash = repeat('a', 64) where id = 600")
    assert compared(engage_lockdown=False)["verdict"] == "checkpoint_mismatch"


@pytest.mark.parametrize("free", [0, 1])
def test_connections_that_are_not_to_be_had(db: Connection, opened: Opened, free: int) -> None:
    said: list[int] = []

    def connect() -> Connection:
        if opened.count >= free:
            raise ConnectionFailed("too many clients")
        return opened()

    hands = opened.hands(connect=connect, on_fewer=lambda number, _problem: said.append(number))
    found = read_blocks(db, "signals", 1_100, hands)
    assert found
    assert root_of(found) == bytes(one(db, "select log_root('signals', 1100)"))
    assert said == [free]


def test_rows_that_are_written_meanwhile_change_nothing(
    db: Connection, compared: Callable[..., dict[str, Any]], opened: Opened
) -> None:
    def write(*_told: int) -> None:
        fill(db, signals=1)

    assert compared(hands=opened.hands(on_progress=write))["verdict"] == "intact"
