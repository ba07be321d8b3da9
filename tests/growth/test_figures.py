"""growth() finds by look-ups what counting all rows would find."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.chain.by_force import undone
from tests.fix_database import Connect, LoginRole
from tests.growth.years import force, spread, write
from tests.support import Connection, fill, one, query


def of(db: Connection, table: str | None, recent: str = "30 days") -> dict[str, Any]:
    """The row of a table; of all for None."""
    (row,) = query(db, "select * from growth(%s) where table_name is not distinct from %s", [recent, table])
    return row


def test_rows_of_any_period_are_found(db: Connection) -> None:
    write(db, 1000)
    spread(db, 100)
    asked = "select count(*) from signals where created_at >= now() - make_interval(days => %s)"
    for days in range(1, 101):
        found = of(db, "signals", f"{days} days")["rows_a_day"] * days
        assert found == pytest.approx(one(db, asked, [days]), rel=0.002), f"{days} days"


@pytest.mark.parametrize("days", [1, 7, 30, 365])
def test_the_rate_is_that_of_the_recent_days(db: Connection, days: int) -> None:
    write(db, 1000)
    spread(db, 100)
    recent = one(
        db, "select count(*) from signals where created_at >= now() - make_interval(days => %s)", [days]
    )
    found = of(db, "signals", f"{days} days")
    assert found["rows_a_day"] == pytest.approx(recent / min(days, 100), rel=0.02)
    assert found["bytes_a_day"] == pytest.approx(found["rows_a_day"] * found["bytes"] / 1000, rel=0.02)


def test_a_thousand_rows_in_a_moment_are_a_thousand_a_day(db: Connection) -> None:
    write(db, 1000)
    assert of(db, "signals")["rows_a_day"] == 1000


def test_a_table_that_nobody_writes_any_more_does_not_grow(db: Connection) -> None:
    write(db, 1000)
    force(db, "signals", "update signals set created_at = created_at - interval '31 days'")
    found = of(db, "signals")
    assert (found["rows_stored"], found["rows_a_day"], found["bytes_a_day"]) == (1000, 0, 0)


@pytest.mark.parametrize("keep", ["1 day", "40 days", "99 days", "200 days"])
def test_rows_past_the_policy(db: Connection, keep: str) -> None:
    write(db, 1000)
    spread(db, 100)
    assert of(db, "signals")["rows_overdue"] is None
    query(db, "set alpha.maintenance = 'a test'")
    query(db, "set role alpha_owner")
    for table in ("signals", "ai_debates"):
        query(db, "select set_retention_policy(%s, %s)", [table, keep])
    past = one(db, "select count(*) from signals where created_at < now() - %s::interval", [keep])
    assert of(db, "signals")["rows_overdue"] == of(db, None)["rows_overdue"] == past
    assert of(db, "ai_debates")["rows_overdue"] == 0


def test_rows_that_are_gone_are_not_stored(db: Connection) -> None:
    write(db, 1000)
    spread(db, 100)
    force(db, "signals", "delete from signals where id <= 400")
    found = of(db, "signals")
    assert (found["oldest_id"], found["last_id"], found["rows_stored"]) == (401, 1000, 600)
    assert found["oldest_created_at"] == one(db, "select created_at from signals where id = 401")


def test_the_last_row_is_the_sum(db: Connection) -> None:
    fill(db)
    *tables, whole = query(db, "select * from growth()")
    chains = query(db, "select table_name from chains order by position")
    assert [row["table_name"] for row in tables] == [row["table_name"] for row in chains]
    assert whole["table_name"] is None
    for name in ("rows_stored", "bytes", "rows_a_day", "bytes_a_day"):
        assert whole[name] == sum(row[name] for row in tables)
    assert whole["oldest_created_at"] == min(filter(None, (row["oldest_created_at"] for row in tables)))


def test_indexes_and_long_values_are_part_of_the_size(db: Connection) -> None:
    write(db, 100)
    assert of(db, "signals")["bytes"] == one(db, "select pg_total_relation_size('signals')")


def test_a_locked_table_is_not_waited_for(db: Connection, connect: Connect) -> None:
    holder = connect(autocommit=False)
    query(holder, "lock table signals in access exclusive mode")
    found = of(db, "signals")
    assert (found["error_code"], found["bytes"]) == ("55P03", None)
    assert of(db, "ai_debates")["problem"] is None
    assert of(db, None)["bytes"] > 0


def test_a_table_that_is_gone_hides_no_other(db: Connection) -> None:
    with undone(db):
        query(db, "alter table signals rename to elsewhere")
        assert of(db, "signals")["error_code"] == "AUD-009"
        assert of(db, "ai_debates")["problem"] is None


@pytest.mark.reads_only
@pytest.mark.parametrize("period", [None, "1 hour", "-30 days"])
def test_a_period_of_less_than_a_day_is_refused(db: Connection, period: str | None) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="a day or more"):
        query(db, "select growth(%s)", [period])


@pytest.mark.reads_only
@pytest.mark.parametrize("function", ["growth", "headroom"])
def test_an_auditor_may_ask_where_nothing_can_be_written(
    db: Connection, connect: Connect, login_role: LoginRole, function: str
) -> None:
    asked = f"select * from {function}() as f where f::text !~ 'database'"
    auditor = connect(user=login_role("app_auditor"))
    found = [sorted(row) for row in query(auditor, asked)]
    assert found == [sorted(row) for row in query(db, asked)]
    assert len(found) > 17


def test_nothing_is_counted(db: Connection) -> None:
    """The figures of a table of many pages come from few."""
    write(db, 20_000)
    query(db, "vacuum analyze signals")
    asked = "explain (analyze, buffers, format json) select * from _growth_of('signals', '30 days')"
    for _ in range(2):  # the second time, nothing has to be learned about the functions
        plan = one(db, asked)[0]["Plan"]
    pages = one(db, "select relpages from pg_class where oid = 'signals'::regclass")
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < pages / 2
