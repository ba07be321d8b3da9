"""daily_activity() finds by look-ups what counting all rows would find."""

from __future__ import annotations

import psycopg
import pytest

from tests.growth.years import spread, write
from tests.support import Connection, query

COUNTED = """
select (created_at at time zone 'UTC')::date as day, count(*) as row_count from signals
where created_at >= %(from)s and created_at < %(to)s group by 1 order by 1
"""


@pytest.mark.parametrize(
    ("begin", "end"), [("now - 400 days", "now + 1 day"), ("now - 30.5 days", "now - 3.2 days")]
)
def test_days_have_the_rows_that_counting_finds(db: Connection, begin: str, end: str) -> None:
    write(db, 1000)
    spread(db, 100)
    period = {"from": _moment(db, begin), "to": _moment(db, end)}
    counted = query(db, COUNTED, period)
    assert len(counted) > 20
    found = query(
        db, "select day, row_count from daily_activity(%(from)s, %(to)s) where table_name = 'signals'", period
    )
    assert found == counted


@pytest.mark.parametrize(
    "period", ["now(), now()", "null, now()", "'-infinity', now()", "now(), '2001-01-01'"]
)
def test_what_is_no_period_is_refused(db: Connection, period: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="is not a period"):
        query(db, f"select daily_activity({period})")


def _moment(db: Connection, said: str) -> object:
    _, sign, days, _ = said.split()
    (row,) = query(db, f"select now() {sign} make_interval(secs => {days} * 86400) as moment")
    return row["moment"]
