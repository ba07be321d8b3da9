"""What each command does on a standby, as the table in docs/standbys.md says; and each function that writes.

A server that is fenced off is tested here too, because a file of its own would make another pair.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.cli.test_tree import COMMANDS as TREE
from tests.pooler.test_commands import ELSEWHERE
from tests.standby.commands import COMMANDS
from tests.standby.pair import Pair, fenced
from tests.standby.writers import WRITERS
from tests.support import ROOT, one, query
from tests.witness.by_hand import WITNESS
from tests.witness.running import in_process

SECTION = "## What a command does on a standby"


def rows() -> Iterator[tuple[str, str]]:
    """Each command of the table, and what it does."""
    text = (ROOT / "docs" / "standbys.md").read_text(encoding="utf-8").split(SECTION)[1].split("\n## ")[0]
    for line in text.splitlines():
        if line.startswith("| `"):
            commands, what = line.strip("| ").split(" | ")
            yield from ((command, what) for command in re.findall("`(.+?)`", commands))


TABLE = dict(rows())


def test_the_table_has_every_command_that_asks_a_database() -> None:
    asks = {name.removeprefix("alpha-db ") for name in TREE} - (ELSEWHERE - {"man"})
    assert set(TABLE) == set(COMMANDS) == asks


@pytest.fixture
def policy(pair: Pair, names: dict[str, str]) -> Iterator[None]:
    """A witness that runs, and the policy that names it."""
    vkey = Path(f"{names['key']}.vkey").read_text(encoding="utf-8").strip()
    with in_process(pair.folder, (), vkeys=[vkey]) as witness:
        text = f"log {vkey}\nwitness w {WITNESS.vkey} {witness.url}\nquorum w\n"
        (pair.folder / "policy").write_text(text, encoding="utf-8")
        yield


@pytest.mark.any_server
@pytest.mark.usefixtures("policy")
def test_each_command_does_what_the_table_says(
    pair: Pair, names: dict[str, str], pytestconfig: pytest.Config
) -> None:
    """The report takes 2 s: with --all only."""
    desk = pair.desk(pair.standby)
    for name, what in TABLE.items():
        if name == "report" and not pytestconfig.getoption("--all"):
            continue
        if name == "risk watch":
            pair.desk(pair.primary).run("risk", "heartbeat")
        found = desk.run(
            *name.split(), *(part.format(**names) for part in COMMANDS[name]), "--json", expect=None
        )
        if what.startswith("works"):
            assert found.code == 0, (name, found)
            continue
        error = json.loads(found.out)["error"]
        assert (found.code, error["code"]) == (3, "25006"), (name, found)
        assert re.match("connect to the primary|name the primary", error["hint"], re.IGNORECASE), (
            name,
            error,
        )


def test_every_function_that_writes_says_so(pair: Pair) -> None:
    """Nothing that PostgreSQL says of a LOCK TABLE, which nobody has called."""
    ways = ((pair.standby, ""), (pair.primary, "set default_transaction_read_only = on"))
    for server, setting in ways:
        with pair.connect(server) as conn:
            query(conn, setting or "select 1")
            for call in WRITERS:
                with pytest.raises(psycopg.errors.ReadOnlySqlTransaction) as caught:
                    query(conn, call)
                said = str(caught.value)
                assert re.match(
                    r"cannot execute (INSERT|UPDATE)|(\w+) writes, and this (server is a standby|tr)", said
                )


def test_no_command_writes_where_the_configuration_says_read_only(pair: Pair) -> None:
    """A former primary whose configuration says read-only: no command of ours writes there, as on a standby."""
    desk = pair.desk(pair.primary)
    with pair.connect(pair.primary) as reader, fenced(pair.primary):
        before = one(reader, "select pg_current_wal_insert_lsn() - '0/0'")
        for command in (
            ["risk", "heartbeat"],
            ["risk", "heartbeat", "--every", "1"],
            ["checkpoint", "create", "--key", str(pair.folder / "key"), str(pair.folder / "runs")],
            ["tables", "untrack", "positions"],
        ):
            said = desk.run(*command, expect=3).err
            assert "[25006]" in said
            assert re.search("connect to the primary|transaction that may write", said, re.IGNORECASE)
        said = desk.run(
            "verify-chain", "--since-last", expect=1
        ).out  # a guard says it, as of any such setting
        assert "setting server: default_transaction_read_only extra" in said
        assert "not remembered" in said
        assert one(reader, "select count(*) from verification_runs") == 0
        assert one(reader, "select pg_current_wal_insert_lsn() - '0/0'") - before < 10_000
