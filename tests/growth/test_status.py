"""alpha-db status says how the log grows, and until when a disk lasts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest

from alpha_db.verify.cli.byte_size import read_size, told
from alpha_db.verify.growth import disk, warnings
from tests.cli.desk import Desk
from tests.fix_database import Connect, LoginRole
from tests.growth.years import spread, write
from tests.support import Connection, one, query

pytest_plugins = ["tests.cli.fix_desk"]

CONTEXT = click.Context(click.Command("status"))


def size(given: str) -> int | None:
    """What --disk-free makes of a text."""
    return read_size(CONTEXT, click.Option(["--disk-free"]), given)


def grows(bytes_a_day: int | None) -> list[dict[str, Any]]:
    """What growth() says of a log."""
    return [{"table_name": None, "bytes_a_day": bytes_a_day}]


@pytest.mark.any_server
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("0", 0),
        ("1048576", 1048576),
        ("  53187649536", 53187649536),
        ("200G", 200 * 1024**3),
        ("200 GB", 200 * 1024**3),
        ("200GiB", 200 * 1024**3),
        ("1.5T", 3 * 1024**4 // 2),
        ("0.3k", 307),
        ("3K", 3072),
        ("999999999999999999P", 999999999999999999 * 1024**5),
    ],
)
def test_a_size_is_read_as_df_prints_it(given: str, expected: int) -> None:
    assert size(given) == expected


@pytest.mark.any_server
@pytest.mark.parametrize(
    "given",
    [
        "",
        "-1",
        "lots",
        "G",
        "1e9",
        "nan",
        "1 G B",
        "200X",
        "1.G",
        ".5G",
        "\u0663G",
        "1 2",
        "9" * 19,
        "1..5",
    ],
)
def test_what_is_no_size_is_refused(given: str) -> None:
    with pytest.raises(click.BadParameter, match="such as 200G"):
        size(given)


@pytest.mark.any_server
@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0 bytes"),
        (10239, "10,239 bytes"),
        (10240, "10 kB"),
        (206061568, "197 MB"),
        (200 * 1024**3, "200 GB"),
        (10**30, "888,178,419,700,125 PB"),
    ],
)
def test_a_size_is_printed_as_postgresql_does(number: int, expected: str) -> None:
    assert told(number) == expected


@pytest.mark.any_server
@pytest.mark.parametrize(
    ("free", "days"), [(0, 0), (999, 0), (1000, 1), (89_999, 89), (90_000, 90), (36_525_000, 36_525)]
)
def test_until_when_a_disk_lasts(free: int, days: int) -> None:
    found = disk(grows(1000), free)
    assert found is not None
    assert found["days_left"] == days
    assert abs(found["until"] - (datetime.now(UTC) + timedelta(days=free / 1000)).date()) <= timedelta(days=1)
    assert bool(warnings({"headroom": [], "disk": found})) is (days < 90)


@pytest.mark.any_server
@pytest.mark.parametrize("rate", [0, 1, None])
def test_a_disk_that_lasts_for_a_century(rate: int | None) -> None:
    found = disk(grows(rate), 1024**4)
    assert found == {"free": 1024**4, "days_left": None, "until": None}
    assert warnings({"headroom": None, "disk": found}) == []


@pytest.mark.any_server
@pytest.mark.parametrize(("growth", "free"), [(None, 1), (grows(1), None), ([], 1)])
def test_without_both_numbers_nothing_is_said_of_the_disk(
    growth: list[dict[str, Any]] | None, free: int | None
) -> None:
    assert disk(growth, free) is None


def test_the_lines(desk: Desk, db: Connection) -> None:
    write(db, 1000)
    spread(db, 100)
    query(db, "set alpha.maintenance = 'a test'")
    query(db, "set role alpha_owner")
    query(db, "select set_retention_policy('signals', '50 days')")
    shown = desk.run("status", "--disk-free", "1M", expect=None).out.splitlines()
    (growth,), (retention,), (free,) = (
        [line for line in shown if line.startswith(name)] for name in ("growth", "retention", "disk")
    )
    assert "rows a day" in growth
    past = one(db, "select count(*) from signals where created_at < now() - interval '50 days'")
    assert retention == f"retention     signals: {past} rows are past the policy (keep 50 days)"
    assert free.startswith("disk          1,024 kB free, which last until 20")
    assert any(line.startswith("warning       disk: full at the present rate") for line in shown)
    assert max(map(len, (growth, retention, free))) <= 80


def test_how_to_learn_until_when_the_disk_lasts(desk: Desk) -> None:
    assert "disk          until when it lasts: give --disk-free BYTES" in desk.run("status").out


def test_all_of_it_in_json(desk: Desk) -> None:
    found = desk.run("status", "--json", "--disk-free", "200G").json
    *tables, whole = found["growth"]
    assert [row["table_name"] for row in tables] == [row["table_name"] for row in found["chains"]]
    assert whole["bytes"] == sum(row["bytes"] for row in tables)
    assert {row["kind"] for row in found["headroom"]} >= {
        "ids",
        "sequence",
        "transaction ids",
        "multixact ids",
    }
    assert found["disk"] == {"free": 200 * 1024**3, "days_left": None, "until": None}
    assert desk.run("status", "--json").json["disk"] is None


def test_a_warning_changes_no_exit_code(desk: Desk) -> None:
    shown = desk.run("status", "--disk-free", "0").out
    assert "warning       disk: full at the present rate; days left: 0" in shown
    assert "warnings." in shown


@pytest.mark.parametrize("given", ["-1", "lots"])
def test_a_bad_size_is_told_in_one_line(desk: Desk, given: str) -> None:
    told = desk.run("status", "--disk-free", given, expect=2)
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert "'--disk-free': give a number of bytes" in told.err


def test_who_may_not_ask_is_told(desk: Desk, connect: Connect, login_role: LoginRole) -> None:
    desk.dsn = connect(user=login_role("app_trading")).info.dsn
    shown = desk.run("status", expect=None).out
    assert "growth        not checked: permission denied for function growth" in shown
