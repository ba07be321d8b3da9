"""alpha-db report: what it answers, and that it changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest

from alpha_db.pages import markup
from alpha_db.report import reading
from alpha_db.report.sections import activity_charts
from tests.checkpoint.book import Book
from tests.checkpoint.test_quorum import WITNESSES, cosign, policy
from tests.cluster import Server
from tests.fix_database import LoginRole
from tests.report.book import Reports
from tests.support import one, query, tamper

pytestmark = pytest.mark.any_server

#: A period without rows, for tests of the verdict: drawing charts takes a second.
QUIET = ("--from", "2001-01-01", "--to", "2002-01-01")


def text_of(page: Path) -> str:
    """What the body says, without markup and data."""
    body = page.read_text(encoding="utf-8").partition("<main>")[2].partition("</main>")[0]
    return re.sub(r"<[^>]*>", " ", body)


@dataclass(frozen=True)
class Whole:
    """The report of the intact book: its file, and what the command told of it."""

    path: Path
    told: Any


@pytest.fixture(scope="module")
def whole(written_book: Book, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Made once, because a report takes two seconds."""
    reports = Reports(written_book, tmp_path_factory.mktemp("whole"))
    path = reports.folder / "r.html"
    return Whole(path, reports.run(*reports.evidence, "-o", path, "--json").json)


def test_an_intact_book_is_intact(whole: Whole) -> None:
    told = whole.told
    assert (told["verdict"], told["figures"]["signals"]) == ("intact", 11)
    page = whole.path.read_bytes()
    assert (told["bytes"], told["sha256"]) == (len(page), sha256(page).hexdigest())
    assert any("are those that were signed" in said for said in told["found"])


def test_the_same_input_gives_the_same_bytes(shared: Reports, whole: Whole) -> None:
    assert shared.report().read_bytes() == whole.path.read_bytes()


def test_without_checkpoints_it_says_so_first(shared: Reports) -> None:
    told = shared.run(*QUIET, "-o", shared.folder / "r.html", "--json").json
    headline = text_of(shared.folder / "r.html").split("Verify this page")[0]
    assert "INTACT IN ITSELF, but compared with no checkpoint" in headline
    assert 'class="box warn" id="verdict"' in (shared.folder / "r.html").read_text()
    assert told["verdict"] == "intact in itself"


def test_a_changed_row_is_damage_and_nothing_is_recorded(reports: Reports) -> None:
    counts = "select (select count(*) from verification_runs) + (select count(*) from lockdown_events) as n"
    with reports.book.connect() as db:
        tamper(db, "update signals set quantity = 7 where id = 2")
        before = one(db, counts)
        page = reports.report(*QUIET, expect=1)
        assert one(db, counts) == before
    assert "DAMAGED" in text_of(page)
    assert re.search(r"signals: content mismatch at row 2 \(AUD-009\)", text_of(page))
    assert "No lockdown is engaged" in text_of(page)


def test_a_cut_tail_is_compared_with_the_checkpoint(reports: Reports) -> None:
    with reports.book.connect() as db:
        tamper(db, "delete from order_events where id = (select max(id) from order_events)")
    said = text_of(reports.report(*QUIET, expect=1))
    assert "order_events, compared with the checkpoint: tail missing at row 4 (AUD-009)" in said


def test_checkpoints_that_are_not_there_are_no_verdict(reports: Reports) -> None:
    page = reports.folder / "r.html"
    options = "--checkpoints", reports.folder / "none", *reports.evidence[2:]
    told = reports.run(*options, *QUIET, "-o", page, "--json", expect=3).json
    assert told["verdict"] == "could not be checked"
    assert "COULD NOT BE CHECKED" in text_of(page)
    assert "INTACT" not in text_of(page)


def test_a_chain_that_cannot_be_read_is_no_verdict_and_hides_nothing(reports: Reports) -> None:
    with reports.book.connect() as db, db.transaction():
        db.execute("lock table ai_debates in access exclusive mode")
        options = (*QUIET, "--lock-timeout", "0.1")
        told = reports.run(*options, *reports.evidence, "-o", reports.folder / "r.html", "--json", expect=3)
    assert told.json["verdict"] == "could not be checked"
    assert "ai_debates: not run" in text_of(reports.folder / "r.html")


def test_one_thing_that_fails_hides_no_other(reports: Reports) -> None:
    with reports.book.connect() as db:
        query(db, "drop function verify_checkpoint, recompute_block_roots cascade")
    said = text_of(reports.report(*QUIET, expect=1))
    assert "NOT INTACT: what protects the rows was changed" in said
    assert "No log could be compared with checkpoint" in said
    assert "guards, compared with the checkpoint: guard changed" in said
    assert "No lockdown is engaged" in said


def test_witnesses_are_named(reports: Reports) -> None:
    file, (signed,) = policy(reports.folder, reports.book.vkey), reports.book.runs
    options = "--checkpoints", reports.book.checkpoints, "--policy", file, *QUIET
    cosign(signed, WITNESSES[0])
    told = reports.run(*options, "-o", reports.folder / "few.html", "--json", expect=1).json
    assert told["verdict"] == "not intact"
    assert "Not witnessed as the policy demands (all): cosigned by w1 at " in text_of(
        reports.folder / "few.html"
    )
    cosign(signed, WITNESSES[1])
    reports.run(*options, "-o", reports.folder / "all.html")
    assert "Witnessed as the policy demands (all): w1 at " in text_of(reports.folder / "all.html")


def test_one_trade_is_shown_whole(shared: Reports) -> None:
    with shared.book.connect() as db:
        (signal,) = query(db, "select correlation_id, signal_id from signals where id = 1")
    said = text_of(shared.report("--correlation", signal["correlation_id"]))
    for name in (
        "Delivery 1",
        "Signal 1",
        "AI answer 1",
        "Decision 1",
        "Order 1",
        "Order 2",
        "Event 1",
        "Event 3",
    ):
        assert name in said
    assert "Signal 2" not in said
    assert "No permission covers this order" in said


def test_a_trade_whose_order_has_no_permission_says_so_in_its_line(whole: Whole) -> None:
    said = text_of(whole.path)
    (line,) = re.findall(r"→ .*?(?=correlation_id)", said, re.DOTALL)[-1:]
    assert "an order without permission" in line


def test_a_row_that_may_have_a_nul_is_put_into_words(shared: Reports) -> None:
    with shared.book.connect() as db:
        signal = one(db, "select correlation_id from signals where raw_payload->>'name' = 'nul'")
    said = text_of(shared.report("--correlation", signal))
    assert "BTCUSD at 60" in said
    assert "cannot be read" not in said


def test_attempts_that_no_run_counted_are_not_none() -> None:
    day = datetime(2027, 1, 1, tzinfo=UTC)
    names = [field.name for field in fields(reading.Activity) if field.name != "covered"]
    parts: dict[str, Any] = dict.fromkeys(names, reading.Part())
    quiet = reading.Activity(**parts, covered=reading.Period(day, day + timedelta(days=1)))
    said = markup(activity_charts(quiet))
    assert "<b>Refused attempts</b> Not counted in this period" in said


def test_an_unknown_trade_is_not_there(shared: Reports) -> None:
    shared.run(
        "--correlation", "00000000-0000-0000-0000-000000000000", "-o", shared.folder / "r.html", expect=5
    )
    assert not (shared.folder / "r.html").exists()


def test_what_is_left_out_is_said(shared: Reports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "NEWEST_TRADES", 3)
    assert "The newest 3 of 11 trades are shown." in text_of(shared.report())


def test_a_trade_of_many_rows_leaves_room_for_others(
    shared: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "ROWS_OF_TRADE", 2)
    said = text_of(shared.report())
    assert re.search(r"2 more rows of order_events, before the last one, are left out here\.", said)
    assert "All 11 trades of the period are shown." in said


def test_a_period_without_rows_has_no_trades(shared: Reports) -> None:
    said = text_of(shared.report(*QUIET))
    assert "There was no trade in this period." in said
    assert "Audit report, 2001-01-01 to 2001-12-31" in said
    assert f"The newest row is of {datetime.now(UTC):%Y-%m-%d}" in said


@pytest.mark.parametrize(
    "options", [("--from", "2027-01-01", "--to", "2027-01-01"), ("--from", "soon"), ("--correlation", "7")]
)
def test_what_is_no_period_or_no_id_is_refused(shared: Reports, options: tuple[str, ...]) -> None:
    shared.run(*options, "-o", shared.folder / "r.html", expect=2)


def test_an_auditor_can_make_it(shared: Reports, server: Server, login_role: LoginRole) -> None:
    dsn = server.dsn(shared.book.dbname, login_role("app_auditor"))
    told = shared.run("--dsn", dsn, *shared.evidence, "-o", shared.folder / "r.html", "--json").json
    assert told["verdict"] == "intact"
    assert "could not be read" not in text_of(shared.folder / "r.html")


def test_a_locked_down_book_is_not_intact(reports: Reports) -> None:
    with reports.book.connect() as db:
        query(db, "select _engage_lockdown('a drill', %s)", ['[{"drill": 1}]'])
    told = reports.run(*QUIET, "-o", reports.folder / "r.html", "--json", expect=1).json
    assert (told["verdict"], told["headline"][:11]) == ("locked down", "LOCKED DOWN")


def test_the_rows_of_a_trade_give_their_hashes(shared: Reports) -> None:
    with shared.book.connect() as db:
        found = query(
            db,
            "select count(*) as n, bool_and(r.row_hash = encode(sha256(decode(r.previous_hash, 'hex')"
            " || convert_to(r.row_data, 'UTF8')), 'hex')) as hold"
            " from trade_rows(array(select correlation_id from signals)) as t"
            " cross join lateral rows_as_hashed(t.table_name, array[t.row_id]) as r",
        )
    assert found[0]["hold"] is True
    assert found[0]["n"] > 30


def test_figures_are_what_counting_finds(shared: Reports) -> None:
    with shared.book.connect() as db:
        figures = dict(
            db.execute("select figure, number from report_figures('-infinity', 'infinity')").fetchall()
        )
        orders = one(db, "select count(*) from order_execution")
        unpermitted = one(db, "select count(*) from vw_orders_without_permission")
    assert (figures["orders"], figures["orders_without_permission"]) == (orders, unpermitted)
    assert (figures["changes_applied"], figures["kill_switches"], figures["ai_timeouts"]) == (2, 1, 1)


def test_limits_begin_with_those_in_force(shared: Reports) -> None:
    with shared.book.connect() as db:
        times = [row["created_at"] for row in query(db, "select created_at from risk_change_log order by id")]
        between = (
            "select version, max_position_size_pct from limits_over_time(%s, 'infinity') order by version"
        )
        found = query(db, between, [times[1]])
    assert [(row["version"], str(row["max_position_size_pct"])) for row in found] == [
        (1, "0.0500"),
        (2, "0.0400"),
    ]


@pytest.mark.parametrize("period", ["'2027-01-02', '2027-01-01'", "'infinity', null"])
def test_what_is_no_period_is_refused_by_sql(shared: Reports, period: str) -> None:
    with (
        shared.book.connect() as db,
        pytest.raises(psycopg.errors.InvalidParameterValue, match="is not a period"),
    ):
        query(db, f"select report_period({period})")


def test_an_empty_book_has_a_report(
    make_database: Callable[..., str], template: str, server: Server, shared: Reports
) -> None:
    dsn = server.dsn(make_database(template))
    told = shared.run("--dsn", dsn, "-o", shared.folder / "r.html", "--json").json
    assert (told["verdict"], told["figures"]["signals"]) == ("intact in itself", 0)
