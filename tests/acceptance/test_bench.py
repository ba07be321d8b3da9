"""bin/bench runs and writes what it says. What it measures is no test."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bench import history
from bench.cli import PARTS, Part, main
from bench.contestants import FILES, OURS, PLAIN, TABLES
from bench.host import Host
from bench.measure import Figure, Target, figures, percentile
from bench.page import filled
from bench.pgbench import steady_rate
from bench.queueing import Model, Turn
from bench.receiver_app import PlainlyRecording, plain_writers
from bench.servers import choose, has_openssl
from bench.statements import arrays, insert
from click.testing import CliRunner

from alpha_db.embedded import Binaries, find_binaries
from alpha_db.risk import Decision
from tests.support import ROOT, Connection, one, query


def test_a_quick_run_writes_table_and_json(binaries: Path, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    arguments = ["--quick", "--pg", str(binaries), "--output", str(file), "ed25519"]
    result = CliRunner().invoke(main, arguments, env={"COLUMNS": None})  # which parallel workers set
    assert result.exit_code == 0, result.output
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["format"] == 3
    assert (list(found["parts"]), found["quick"]) == (["ed25519"], True)
    assert found["settings"]["fsync"] == "on"
    assert found["sha256"] == ("OpenSSL" if has_openssl(find_binaries(binaries)) else "PostgreSQL's own code")
    assert found["machine"]["cores"] >= 1
    by_name = {figure["contestant"]: figure for figure in found["figures"]}
    assert list(by_name) == [
        "sha512 in SQL",
        "ed25519_verify, valid",
        "ed25519_verify, invalid",
        "Python, valid",
    ]
    valid = by_name["ed25519_verify, valid"]
    assert 0 < valid["p5"] <= valid["median"] <= valid["p95"]
    assert valid["samples"] == 50
    assert valid["ratio"] > 1
    assert (valid["target"]["of"], valid["target"]["bound"]) == ("median", "at most")
    assert valid["met"] == (valid["median"] <= valid["target"]["limit"])
    assert by_name["sha512 in SQL"]["ratio"] is None
    for name in by_name:
        assert name in result.stdout


def test_a_target_may_be_a_ratio_and_a_lower_bound() -> None:
    samples = {"plain": [10.0, 11.0, 12.0], "ours": [9.0, 9.9, 50.0]}

    def met(target: Target) -> bool | None:
        plain, ours = figures("p", "s", "rows/s", samples, baseline="plain", targets={"ours": target})
        assert (plain.ratio, plain.met) == (None, None)
        assert ours.ratio == pytest.approx(0.9)
        return ours.met

    assert met(Target(0.89, "ratio", "at least")) is True
    assert met(Target(0.91, "ratio", "at least")) is False
    assert met(Target(0.91, "ratio")) is True
    assert met(Target(0.89, "ratio")) is False
    assert met(Target(9.9, bound="at least")) is True
    assert met(Target(9.8)) is False


def test_percentiles_are_those_of_the_samples() -> None:
    values = [float(n) for n in range(1, 101)]
    (figure,) = figures("p", "s", "ms", {"a": values}, baseline="a", percentiles=(0.05, 0.95, 0.99))
    assert (figure.p5, figure.median, figure.p95, figure.p99) == (5, 50.5, 95, 99)
    assert percentile([3.0], 0.99) == 3.0


def test_a_rate_is_of_the_time_in_which_all_writers_were_at_work() -> None:
    early, late = [1.0, 2.0, 3.0, 4.0], [2.5, 3.5, 9.0]
    assert steady_rate([early, late]) == pytest.approx(3 / 1.5)  # 3.0, 3.5 and 4.0, from 2.5 to 4.0
    assert steady_rate([[1.0, 2.0], [5.0]]) is None


def test_the_contestants_differ_in_nothing_but_the_chain(db: Connection) -> None:
    """The same columns, defaults apart, indexes and constraints; and each keeps the trail that it promises."""
    for file in FILES:
        db.execute((ROOT / "bench" / file).read_bytes())
    shapes = {table: shape(db, table) for table in TABLES.values()}
    assert [table for table, found in shapes.items() if found != shapes["signals"]] == []
    for contestant in TABLES:
        query(db, insert(contestant, 3))
    rows = query(
        db,
        "select u.row_hash, u.row_hash = encode(sha256(convert_to("
        " coalesce(lag(u.row_hash) over (order by u.id), 'genesis')"
        " || '|' || u.id || '|' || u.correlation_id || '|' || u.signal_id || '|' || u.symbol || '|' || u.side || '|'"
        " || u.price || '|' || u.quantity || '|' || u.raw_payload::text || '|' || '|' || u.hmac_verified || '|'"
        " || u.created_at || '|' || u.recorded_by, 'UTF8')), 'hex') as holds from usual_signals as u order by u.id",
    )
    assert len({row["row_hash"] for row in rows}) == 3
    assert all(row["holds"] for row in rows)
    assert one(db, "select verdict from verify_chain('signals')") == "intact"
    assert one(db, "select count(*) from plain_signals") == 3
    assert query(db, "select record from supa_versions") == query(
        db, "select to_jsonb(s) as record from supa_signals as s"
    )
    assert one(db, "select count(distinct record_id) from supa_versions where op = 'INSERT'") == 3
    kept = "id, signal_id, raw_payload, created_at, recorded_by"
    assert query(db, f"select {kept} from pgh_events where pgh_label = 'insert'") == query(
        db, f"select {kept} from pgh_signals"
    )


def test_an_array_is_written_alike_by_all_ways(db: Connection) -> None:
    for file in FILES:
        db.execute((ROOT / "bench" / file).read_bytes())
    for number, statement in enumerate(arrays(3).values()):
        db.execute(statement.replace(":k::text", f"'k{number}'").encode())
    written = "select count(*) from {} where price = 0.071234 and raw_payload #>> '{{order,id}}' = %s"
    assert [one(db, written.format("plain_signals"), [f"k{n}"]) for n in range(2)] == [3, 3]
    assert [one(db, written.format("signals"), [f"k{n}"]) for n in range(2, 4)] == [3, 3]


def test_the_receiver_without_alpha_db_writes_the_same_rows(
    db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.execute((ROOT / "bench" / "plain_receiver.sql").read_bytes())
    receiver: Any = importlib.import_module("receiver")  # bench.receiver_app knows where
    exchange: Any = importlib.import_module("exchange")
    monkeypatch.setattr(receiver, "alpha_db", plain_writers())
    answer = Decision(True, "a test", 1, "0" * 64, "NORMAL", datetime.now(UTC))

    class Allowing(PlainlyRecording):
        def allows(self, _order: object) -> Decision:
            return answer

    def call(write: Any, *order: Any, **values: Any) -> Any:
        return write(db, *order, **values)

    body = b'{"id": "b-1", "ticker": "ETHBTC", "action": "BUY", "price": "0.0712", "quantity": "2.5"}'
    said = receiver.handle(
        call, Allowing("host=nowhere"), exchange.Exchange(), {"raw_body": body, "hmac_verified": True}
    )
    assert said["status"] == "FILLED"
    tables = ("webhook_deliveries", "signals", "risk_decisions", "order_execution", "order_events")
    assert [one(db, f"select count(*) from plain.{table}") for table in tables] == [1, 1, 1, 2, 1]
    assert [one(db, f"select count(*) from public.{table}") for table in tables] == [0] * 5


def shape(db: Connection, table: str) -> list[str]:
    """Columns, constraints and indexes of a table, without the names that hold the table's."""
    found = query(
        db,
        "select a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull as fact"
        " from pg_attribute as a where a.attrelid = %(table)s::regclass and a.attnum > 0"
        " union all select pg_get_constraintdef(c.oid) from pg_constraint as c"
        " where c.conrelid = %(table)s::regclass and c.contype <> 'n'"
        " union all select pg_get_indexdef(i.indexrelid) from pg_index as i where i.indrelid = %(table)s::regclass",
        {"table": table},
    )
    return sorted(re.sub(r"INDEX \S+ ON \S+", "INDEX ON", row["fact"]) for row in found)


def test_a_server_with_openssl_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def server(name: str, major: int, code: bytes) -> Binaries:
        directory = tmp_path / name
        directory.mkdir()
        (directory / "postgres").write_bytes(code)
        return Binaries(directory, f"{major}.1", major)

    old, new = server("old", 15, b"\0libssl.so.3\0"), server("new", 17, b"\0libssl.so.3\0")
    bare, bare_new = server("bare", 18, b"\0libc.so.6\0"), server("bare_new", 17, b"\0libc.so.6\0")
    monkeypatch.setattr("bench.servers._candidates", lambda: iter([bare, bare_new, old, new]))
    monkeypatch.setattr("bench.servers.find_binaries", lambda wish: f"find_binaries({wish})")
    assert choose(None) == new
    assert choose("17") == new
    assert choose("15") == old
    assert str(choose("18")) == "find_binaries(18)"
    assert str(choose(str(tmp_path))) == f"find_binaries({tmp_path})"


def test_a_part_that_fails_is_told_and_the_others_go_on(
    binaries: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(_host: Host) -> list[Figure]:
        raise OSError("the disk is full")

    def works(_host: Host) -> list[Figure]:
        return figures("works", "s", "ms", {"a": [1.0]}, baseline="a")

    monkeypatch.setattr("bench.cli.PARTS", {"fails": Part("", fails), "works": Part("", works)})
    file = tmp_path / "figures.json"
    result = CliRunner().invoke(main, ["--pg", str(binaries), "-o", str(file)])
    assert result.exit_code == 3
    assert "bench: error: fails: the disk is full" in result.stderr
    found = json.loads(file.read_text(encoding="utf-8"))
    assert [figure["part"] for figure in found["figures"]] == ["works"]
    assert found["problems"] == ["fails: the disk is full"]


def test_list_names_every_part() -> None:
    listed = CliRunner().invoke(main, ["--list"])
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(PARTS)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["no-such-part"], 2), (["--output", "/nonexistent/f"], 2), (["--pg", "/nonexistent"], 3)],
)
def test_what_cannot_run_says_why(arguments: list[str], code: int) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr


def test_the_model_of_one_writer_is_the_sum_of_its_parts() -> None:
    turn = Turn(client=40, before=60, hold=80, after=50, wake=25, flush=500, cold=1000)
    assert Model(turn, cores=2).rate(1) == pytest.approx(1e6 / (40 + 60 + 80 + 50 + 2 * 25 + 500), rel=0.02)


def test_the_model_of_many_cores_is_the_lock_and_its_hand_over() -> None:
    turn = Turn(client=40, before=60, hold=80, after=50, wake=25, cold=15)
    assert Model(turn, cores=100).rate(50) == pytest.approx(1e6 / (80 + 25 + 15), rel=0.02)


def test_the_model_without_a_lock_is_its_cores() -> None:
    turn = Turn(client=40, before=60, after=50, wake=25)
    assert Model(turn, cores=2).rate(50) == pytest.approx(2 * 1e6 / (40 + 60 + 50), rel=0.02)


def test_the_model_lets_all_who_wait_share_a_flush() -> None:
    turn = Turn(client=1, flush=1000)
    assert Model(turn, cores=50).rate(50) > 20 * Model(turn, cores=50).rate(1)


def test_the_page_takes_the_figures_of_runs() -> None:
    def document(version: str, ratio: float) -> dict[str, Any]:
        ours = Figure("cost", "alone", OURS, "µs/row", 90.0, None, None, None, 3, ratio, Target(1.8, "ratio"))
        plain = Figure("cost", "alone", PLAIN, "µs/row", 50.0, None, None, None, 3, None)
        proof = Figure("proofs", "sealed", "first", "ms", 8.0, None, None, None, 3, None, Target(10.0))
        lock = Figure(
            "handover", "processor time of a row, no flush", "1 writer", "µs", 80.0, None, None, None, 1, None
        )
        rows = [asdict(figure) | {"met": figure.met} for figure in (plain, ours, proof, lock)]
        return {"server_version": version, "sha256": "OpenSSL", "figures": rows}

    places = "".join(
        f"<!-- {name} -->\nold\n<!-- /{name} -->\n" for name in ("targets", "beside", "handover")
    )
    found = filled(places, [document("15.1", 1.75), document("18.1", 1.85)])
    assert "old" not in found
    assert "| processor time of a row, alone | ours, INSERT | ≤ 1.8 | 1.75 | **1.85** |" in found
    assert "| sealed | first | ≤ 10 ms | 8.00 | 8.00 |" in found
    assert "| processor time of a row, alone | | | | 1.75 / 1.85 | |" in found
    assert "| 1 writer | 80.00 |" in found
    assert filled(found, [document("15.1", 1.75), document("18.1", 1.85)]) == found
    assert filled((ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8"), [document("15.1", 1.75)])


def test_the_part_history_changes_its_four_tables(db: Connection) -> None:
    for file in (*FILES, "history.sql"):
        db.execute((ROOT / "bench" / file).read_bytes())
    for table in history.TABLES.values():
        for statement in (history.INSERT, history.UPDATE):
            db.execute(statement.format(table).encode(), {"k": "000000000001"})
    trails = query(
        db,
        "select (select count(*) from supa_versions) as audited, (select count(*) from chained_versions) as chained,"
        " (select count(*) from table_changes where operation in ('INSERT', 'UPDATE')) as tracked",
    )
    assert trails == [{"audited": 2, "chained": 2, "tracked": 2}]
