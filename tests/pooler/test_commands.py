"""Every command through PgBouncer in transaction mode, with a single server connection, again and again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from alpha_db.cli.main import cli
from tests.checkpoint.book import make_key, run
from tests.cli.desk import ODD, Desk
from tests.cli.votes import signed_vote
from tests.cluster import Server
from tests.pooler.pgbouncer import PROGRAM, pgbouncer, through
from tests.retention.keeper import Keeper
from tests.retention.shelf import write_year
from tests.support import Connection, assert_healthy, fill, one, query
from tests.witness.by_hand import WITNESS
from tests.witness.running import in_process

pytest_plugins = ["tests.cli.fix_desk", "tests.cli.fix_two_desks"]
pytestmark = [
    pytest.mark.any_server,
    pytest.mark.skipif(PROGRAM is None, reason="no pgbouncer here (Debian: apt-get install pgbouncer)"),
]

#: commands that ask no database, or one of their own
ELSEWHERE = {
    "demo", "server psql", "server run", "server start", "server status", "server stop", "server url", "server exec",
    "checkpoint keygen", "checkpoint show", "checkpoint list", "checkpoint verify", "checkpoint stamp", "verify-proof",
    "verify-report", "verify-export", "witness keygen", "witness show", "witness init", "witness serve",
    "agents keygen", "agents show", "completion", "man",
}  # fmt: skip

#: commands that change nothing, or may be run again
AGAIN: dict[str, list[str]] = {
    "migrate": ["--list"],
    "doctor": [],
    "status": [],
    "verify-chain": ["--jobs", "2"],
    "guards": [],
    "attempts": [],
    "tables list": [],
    "lockdown status": [],
    "watch": ["--once"],
    "checkpoint create": ["--key", "{key}", "{runs}"],
    "prove": ["signals", "1", "--checkpoints", "{runs}", "--trust", "{key}.vkey", "--output", "-"],
    "report": ["--checkpoints", "{runs}", "--trust", "{key}.vkey", "--output", "-"],
    "export": ["--table", "signals", "--output", "-"],
    "tiles": ["{tiles}"],
    "agents list": [],
    "risk get-config": [],
    "risk history": [],
    "risk verify": [],
    "risk proposals": [],
    "risk watch": ["--once"],
    "risk heartbeat": [],
    "retention plan": ["--before", "2020-01-01"],
    "retention prune": [],
    "retention status": [],
}
#: commands that the tests below run
ONCE = {
    "tables widen", "tables chain", "tables extend", "checkpoint witness", "tables track", "tables untrack",
    "tables history", "tables as-of", "tables verify",
}  # fmt: skip
#: commands of agents: test_agents_propose_and_vote and test_old_rows_leave run them
SIGNED = {
    "agents bootstrap", "agents sign-bootstrap", "agents enrol", "agents revoke", "agents rotate", "lockdown release",
    "risk approve", "risk reject", "risk update-param", "risk set-kill-threshold", "risk quorum-policy",
    "risk page", "risk submit", "retention propose", "retention hold", "retention release",
}  # fmt: skip


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The commands of a group, each with the groups that it is in."""
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), name)
            assert inner is not None
            yield from leaves(inner, (*path, name))
    else:
        yield " ".join(path)


def test_every_command_is_tried() -> None:
    assert set(leaves(cli)) - ELSEWHERE - AGAIN.keys() - ONCE - SIGNED == set()


@pytest.fixture
def pooled(server: Server, desk: Desk, database: str) -> Iterator[Desk]:
    """The desk behind a pooler that has one connection to the server."""
    with pgbouncer(server, 1, "postgres") as folder:
        desk.dsn = through(folder, database, "postgres")
        yield desk


@pytest.fixture(scope="module")
def rounds(pytestconfig: pytest.Config) -> int:
    """How often each command runs: a second time in the same session of the server is what a first one may spoil."""
    return 3 if pytestconfig.getoption("--all") else 2


def test_commands_that_read(
    pooled: Desk, db: Connection, tmp_path: Path, rounds: int, pytestconfig: pytest.Config
) -> None:
    """The report takes 2 s: once, but with --all."""
    fill(db)
    pooled.bootstrap("ada", "ben", "cyd")
    pooled.first_limits()
    key, runs = tmp_path / "key", tmp_path / "runs"
    runs.mkdir()
    pooled.run("checkpoint", "keygen", "--name", "desk.example/log", "--output", str(key))
    for name, arguments in AGAIN.items():
        once = name == "report" and not pytestconfig.getoption("--all")
        for schema in ([], ["--schema", "public"], ["--schema", "public"])[: 1 if once else rounds]:
            given = [argument.format(key=key, runs=runs, tiles=tmp_path / "tiles") for argument in arguments]
            pooled.run(*schema, *name.split(), *given)
    for _ in range(rounds):
        pooled.run("verify-chain", "--since-last")
        pooled.run("verify-chain", "--checkpoints", str(runs), "--trust", f"{key}.vkey")
        pooled.run("guards", "--checkpoints", str(runs), "--trust", f"{key}.vkey")
    assert_healthy(db)


def test_doctor_says_how_to_migrate(server: Server, empty_database: str) -> None:
    with pgbouncer(server, 1, "postgres") as folder:
        dsn = through(folder, empty_database, "postgres")
        told = run("--dsn", dsn, "doctor", "--json", expect=1).json
    assert [check["name"] for check in told if check["state"] == "set"] == ["pooler"]


def test_runs_are_cosigned(pooled: Desk, db: Connection, tmp_path: Path, rounds: int) -> None:
    key, runs, policy = tmp_path / "key", tmp_path / "runs", tmp_path / "policy"
    runs.mkdir()
    vkey = pooled.run("checkpoint", "keygen", "--name", "desk.example/log", "--output", str(key)).out.strip()
    with in_process(tmp_path, (), vkeys=[vkey]) as witness:
        policy.write_text(f"log {vkey}\nwitness w {WITNESS.vkey} {witness.url}\nquorum w\n")
        for _ in range(rounds):
            pooled.run("checkpoint", "create", "--key", str(key), str(runs))
            pooled.run("checkpoint", "witness", "--policy", str(policy), str(runs))
        assert [line.split(" ")[1] for line in witness.told] == ["200"] * rounds
    assert_healthy(db)


def test_a_column_is_widened(pooled: Desk, db: Connection, rounds: int) -> None:
    for length in range(40, 40 + rounds):
        shown = pooled.run("tables", "widen", "signals", "symbol", str(length), "--reason", "longer symbols")
        assert f"takes {length} characters now" in shown.out
    assert one(db, "select count(*) from maintenance_events where reason = 'longer symbols'") == rounds
    refused = pooled.run("tables", "widen", "signals", "symbol", "43", "--reason", "\t", expect=2)
    assert "it is blank" in refused.err
    assert one(db, "select current_setting('alpha.maintenance', true)") in ("", None)
    assert_healthy(db)


def test_a_table_is_tracked(pooled: Desk, db: Connection, rounds: int) -> None:
    db.execute(
        "create table positions (id integer primary key, v integer); insert into positions values (1, 1)"
    )
    for _ in range(rounds):
        pooled.run("tables", "track", "public.positions")
        db.execute("update positions set v = v + 1")
        assert "UPDATE" in pooled.run("tables", "history", "positions", "1").out
        assert pooled.run("tables", "as-of", "positions", "now", "--json").json == [
            {"id": "1", "v": str(one(db, "select v from positions"))}
        ]
        pooled.run("tables", "verify")
        pooled.run("tables", "untrack", "positions")
    assert_healthy(db)


def test_own_tables_are_chained_and_extended(pooled: Desk, db: Connection, rounds: int) -> None:
    for name in ("one", "two", "three")[:rounds]:
        query(db, f"create table {name} (a integer primary key); insert into {name} values (1)")
        assert "is a chained table now" in pooled.run("tables", "chain", name).out
        query(db, f"alter table {name} add column b text")
        assert "hashed with b" in pooled.run("tables", "extend", name).out
    assert one(db, "select current_setting('alpha.maintenance', true)") in ("", None)
    assert_healthy(db)


def test_agents_propose_and_vote(pooled: Desk, rounds: int) -> None:
    files = [str(pooled.keygen(name)) for name in ("ada", "ben", "cyd")]
    for name in pooled.names:
        signed = pooled.run("agents", "sign-bootstrap", "--key", str(pooled.key(name)), *files, "--yes")
        (pooled.folder / f"{name}.signed").write_text(signed.out)
    pooled.run(
        "agents", "bootstrap", *(str(pooled.folder / f"{name}.signed") for name in pooled.names), "--yes"
    )
    pooled.first_limits()

    def agreed(*arguments: str) -> None:
        assert pooled.approve(pooled.propose("ada", *arguments), "ben", "cyd")[-1] == "APPLIED"

    for n in range(3, 3 + rounds):
        agreed("risk", "update-param", "max_leverage_ratio", str(n))
    agreed("risk", "quorum-policy", "--loosen", "2", "--govern", "2", "--tighten", "2")
    agreed("risk", "set-kill-threshold", "BTCUSD", "--loss-pct", "0.1")
    dan = pooled.keygen("dan")
    agreed("agents", "enrol", str(dan))
    agreed("agents", "rotate", "dan", str(pooled.keygen("dan2")))
    agreed("agents", "revoke", "dan2")
    withdrawn = pooled.propose("ada", "risk", "update-param", "max_leverage_ratio", "9")
    pooled.run("risk", "page", withdrawn, "--output", str(pooled.folder / "page.html"))
    (pooled.folder / "vote.json").write_text(json.dumps(signed_vote(pooled, withdrawn, "ben")))
    pooled.run("risk", "submit", str(pooled.folder / "vote.json"))
    pooled.run("risk", "reject", withdrawn, *pooled.sign("ada"))
    shown = pooled.run("lockdown", "release", "--reason", "none", *pooled.sign("ada"), expect=1)
    assert "RSK-005" in shown.err


def test_old_rows_leave(pooled: Desk, db: Connection) -> None:
    write_year(db, 1, 600)
    pooled.bootstrap("ada", "ben", "cyd")
    keeper = Keeper(pooled, db, make_key(pooled.folder))
    keeper.checkpoints.mkdir()
    keeper.sign()
    keeper.leave("--table", "order_events")
    assert one(db, "select min(id) from order_events") == 257
    held = pooled.propose("ada", "retention", "hold", "signals", "9")
    assert pooled.approve(held, "ben") == ["APPLIED"]
    assert pooled.approve(pooled.propose("ada", "retention", "release", held), "ben", "cyd")[-1] == "APPLIED"


def test_migrate_refuses(server: Server, empty_database: str, tmp_path: Path, capsys: Any) -> None:
    with pgbouncer(server, 2, "postgres") as folder:
        desk = Desk(through(folder, empty_database, "postgres"), tmp_path, capsys)
        desk.run("migrate", "--dry-run")
        said = desk.run("migrate", expect=3)
    assert "cannot migrate through a pooler" in said.err
    assert "name the server itself" in said.err


def test_commands_over_all_schemas(pooled: Desk, db: Connection, tmp_path: Path) -> None:
    key, runs = tmp_path / "public.key", tmp_path / "runs" / "public"
    runs.mkdir(parents=True)
    pooled.run("checkpoint", "keygen", "--name", "desk.example/log", "--output", str(key))
    paths = "--key", f"{tmp_path}/{{schema}}.key", f"{tmp_path}/runs/{{schema}}"
    for command in (
        ["status"],
        ["guards"],
        ["verify-chain"],
        ["checkpoint", "create", *paths],
        ["watch", "--once"],
    ):
        pooled.run(*command, "--all-schemas")
    assert_healthy(db)


@pytest.mark.long
def test_commands_over_two_schemas(server: Server, changed: Desk, clone: str) -> None:
    with pgbouncer(server, 1, "postgres") as folder:
        changed.dsn = through(folder, clone, "postgres")
        for command in (["guards"], ["verify-chain"], ["watch", "--once"]):
            shown = changed.run(*command, "--all-schemas").out
            assert ODD.replace('"', "") in shown.replace('\\"', "").replace('"', "")
