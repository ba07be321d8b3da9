"""alpha-db tables track, untrack, history, as-of, verify: what they show, and exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.desk import Desk
from tests.cluster import Server
from tests.fix_database import Prepared
from tests.history.tracked import behind_the_triggers
from tests.support import Connection

# The SQL behind them is tested on every server in tests/history.
pytestmark = pytest.mark.any_server

pytest_plugins = ["tests.cli.fix_desk"]

TABLE = (
    "create table logins (id integer primary key, pin text); insert into logins values (1, 'one'), (2, null)"
)


@pytest.fixture
def origin(prepared: Prepared, server: Server, keys: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """With a tracked table of two rows."""

    def track(connection: Connection) -> None:
        connection.execute(TABLE)
        desk = Desk(server.dsn(connection.info.dbname), keys, capsys)
        shown = desk.run("tables", "track", "public.logins", "--exclude", "pin")
        assert "begins with 2 rows" in shown.out

    return prepared("cli_tracked", track)


@pytest.fixture
def tracked(desk: Desk) -> Desk:
    """With a tracked table of two rows."""
    return desk


def test_a_row_and_what_happened_to_it(tracked: Desk, db: Connection) -> None:
    db.execute("update logins set id = 3 where id = 2; delete from logins where id = 3")
    first = tracked.run("tables", "history", "logins", "2").out.splitlines()
    assert [line.split()[2] for line in first if line.startswith("2")] == ["SNAPSHOT", "UPDATE"]
    assert "    id: 3 → none" not in first
    assert "    id: none → 2" in first
    last = tracked.run("tables", "history", "logins", '{"id": 3}', "--json").json
    assert [entry["operation"] for entry in last] == ["UPDATE", "DELETE"]
    assert "not in the history" in tracked.run("tables", "history", "logins", "7").out


def test_the_rows_at_a_moment(tracked: Desk, db: Connection) -> None:
    moment = str(db.execute("select clock_timestamp()").fetchone()[0])  # type: ignore[index]
    db.execute("truncate logins")
    then = tracked.run("tables", "as-of", "public.logins", moment)
    assert [line.split()[0] for line in then.out.splitlines()] == ["id", "1", "2"]
    assert "held no row" in tracked.run("tables", "as-of", "public.logins", "now").out
    assert tracked.run("tables", "as-of", "logins", "now", "--json").json == []


@pytest.mark.parametrize("moment", ["gestern", "2027-13-01", ""])
def test_a_moment_that_is_no_time_is_wrong_usage(tracked: Desk, moment: str) -> None:
    assert "is not a time such as" in tracked.run("tables", "as-of", "logins", moment, expect=2).err


def test_a_difference_is_exit_code_1(tracked: Desk, db: Connection) -> None:
    assert "holds what its history says" in tracked.run("tables", "verify").out
    with behind_the_triggers(db, "logins"):
        db.execute("insert into logins select generate_series(11, 40)")
    shown = tracked.run("tables", "verify", "logins", expect=1)
    assert (shown.out.count("extra_row"), "and 10 more" in shown.err) == (20, True)
    assert len(tracked.run("tables", "verify", "--json", expect=1).json) == 30
    chains = tracked.run("verify-chain", expect=1)
    assert "history_mismatch" in chains.out
    assert tracked.run("lockdown", "status").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("track", "nothing"), 5, "there is no such table"),
        (("track", "a.b.c.d.e"), 5, "improper"),
        (("track", '"'), 5, "alpha-db: error"),
        (("track", "signals"), 1, "belongs to alpha-db"),
        (("track", "public.logins", "--exclude", "nothing"), 1, "no column nothing"),
        (("untrack", "nothing"), 5, "has no history"),
        (("history", "nothing", "1"), 5, "has no history"),
        (("history", "logins", '{"a": 1}'), 1, "the key of public.logins is (id)"),
        (("as-of", "logins", "2001-01-01"), 1, "does not go back"),
        (("verify", "nothing"), 5, "has no history"),
    ],
)
def test_what_cannot_be_is_one_line(tracked: Desk, arguments: tuple[str, ...], code: int, said: str) -> None:
    shown = tracked.run("tables", *arguments, expect=code)
    assert said in shown.err
    assert shown.out == ""


def test_a_history_ends_and_can_still_be_read(tracked: Desk) -> None:
    tracked.run("tables", "untrack", "public.logins")
    tracked.run("tables", "untrack", "public.logins", expect=5)
    assert "SNAPSHOT" in tracked.run("tables", "history", "logins", "1").out
    assert tracked.run("tables", "verify", "--json").json == []


def test_control_characters_of_the_data_reach_no_terminal(tracked: Desk, db: Connection) -> None:
    db.execute('create table "a\x1b[31m" (id text primary key, v text)')
    tracked.run("tables", "track", 'public."a\x1b[31m"')
    db.execute("insert into \"a\x1b[31m\" values ('\x1b[2J', '\x1b]0;x')")
    for shown in (
        tracked.run("tables", "history", 'public."a\x1b[31m"', "\x1b[2J"),
        tracked.run("tables", "as-of", 'public."a\x1b[31m"', "now"),
        tracked.run("tables", "untrack", 'public."a\x1b[31m"'),
    ):
        assert "\x1b" not in shown.out + shown.err
