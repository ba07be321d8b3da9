"""alpha-db tables."""

from __future__ import annotations

import pytest

from tests.cli.desk import Desk
from tests.own_tables.books import HOSTILE_NAME, TRADES
from tests.support import Connection, assert_healthy, query, quote


def test_chain(desk: Desk, db: Connection) -> None:
    query(db, f"{TRADES}; insert into trades values ('a')")
    shown = desk.run("tables", "chain", "trades").out
    assert shown.splitlines() == [
        "trades is a chained table now.",
        "Its rows 1 to 1 were there before, and were taken in.",
        "A lockdown closes it.",
    ]
    assert_healthy(db)


def test_chain_as_json(desk: Desk, db: Connection) -> None:
    query(db, f"create table {quote(HOSTILE_NAME)} (a int)")
    found = desk.run("tables", "chain", HOSTILE_NAME, "--open-in-lockdown", "--json").json
    assert found == {"table": HOSTILE_NAME, "open_in_lockdown": True, "taken_in": 0}


def test_extend(desk: Desk, trades: Connection) -> None:
    query(trades, "alter table trades add column venue text")
    assert desk.run("tables", "list", "--json").json[-1]["not_covered"] == ["venue"]
    assert desk.run("tables", "extend", "trades").out == "trades is hashed with venue from now on.\n"
    assert desk.run("tables", "extend", "trades", "--json").json == {"table": "trades", "added": []}
    assert_healthy(trades)


def test_list(desk: Desk, trades: Connection) -> None:
    query(trades, "insert into trades (ref) values ('a')")
    head, *lines = desk.run("tables", "list").out.splitlines()
    assert head.split("  ")[0] == "table"
    assert ["trades", "own", "1", "closed", "-", "for", "ever"] in [line.split() for line in lines]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["chain", "nothing"], 5, "error [42P01]: there is no table nothing in schema public. HINT: "),
        (
            ["chain", "trades"],
            1,
            "error [42710]: trades cannot be chained: it is a chained table already. HINT: ",
        ),
        (["chain", "vw_rejected_attempts"], 1, "cannot be chained: it is a view. HINT: "),
        (["extend", "signals"], 1, "signals is a table of alpha-db itself. HINT: "),
        (["extend", "nothing"], 5, "nothing is not a chained table. HINT: "),
    ],
)
def test_a_refusal_is_one_line(
    desk: Desk, trades: Connection, arguments: list[str], code: int, message: str
) -> None:
    del trades
    err = desk.run("tables", *arguments, expect=code).err
    assert message in err
    assert err.count("\n") == 1


def test_a_terminal_sees_no_escape_of_a_name(desk: Desk, db: Connection) -> None:
    query(db, 'create table "a\x1b[31mb" (a int)')
    assert "\x1b" not in desk.run("tables", "chain", "a\x1b[31mb", expect=1).err
