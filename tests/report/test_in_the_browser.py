"""A report in a headless Chromium: it verifies itself, and turns red when anything in it is changed."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.checkpoint.book import Book, make_key, public
from tests.cluster import Server
from tests.fix_browser import OpenPage
from tests.report.book import HOSTILE, LONG, Reports
from tests.report.changes import CHANGES, changed, with_new_seal
from tests.report.test_report import QUIET
from tests.retention.shelf import Shelf, write_year
from tests.risk.council import Council
from tests.support import make_signal, query, tamper

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.any_server


@pytest.fixture
def verified(open_page: OpenPage) -> Callable[..., tuple[str, str]]:
    """Opens a page, pastes keys, lets it verify itself, and gives the kind of its verification and what it says."""

    def verify(path: Path, *keys: Path, **options: Any) -> tuple[str, str]:
        page = open_page(path, **options)
        page.fill("#trust", "".join(public(key).read_text() for key in keys))
        page.click("#verify-button")
        return state_of(page)

    return verify


def state_of(page: Page) -> tuple[str, str]:
    """The kind and the words of the page's own verification, once it is over."""
    page.wait_for_function("!document.getElementById('verification').textContent.includes('Verifying')")
    kind = (page.get_attribute("#verification", "class") or "").removeprefix("state ")
    return kind, page.inner_text("#verification .said")


def write(tmp_path: Path, content: bytes) -> Path:
    """A page with this content."""
    path = tmp_path / "page.html"
    path.write_bytes(content)
    return path


def test_an_intact_page_verifies(
    made: bytes, written_book: Book, tmp_path: Path, verified: Callable[..., tuple[str, str]]
) -> None:
    kind, said = verified(write(tmp_path, made), written_book.key)
    assert kind == "good", said
    assert re.search(
        r"\b31 rows give their hashes\. Too long .* verified: row \d+ of signals, .* 33 rows of these are in the log",
        said,
    )
    assert "Signatures of proposals and votes that hold: 6." in said


def test_with_its_own_keys_no_page_has_a_tick(
    made: bytes, tmp_path: Path, verified: Callable[..., tuple[str, str]]
) -> None:
    kind, said = verified(write(tmp_path, made))
    assert (kind, said.startswith("Nothing in this page contradicts the rest. Anyone can write")) == (
        "warn",
        True,
    )


def test_a_page_that_nobody_signed_has_no_tick(
    shared: Reports, verified: Callable[..., tuple[str, str]]
) -> None:
    kind, said = verified(shared.report(*QUIET), shared.book.key)
    assert (kind, "nobody vouches for its verdict, figures and charts" in said) == ("warn", True)


def test_a_signature_that_was_taken_away_is_missed(
    shared: Reports, tmp_path: Path, verified: Callable[..., tuple[str, str]]
) -> None:
    key = make_key(tmp_path, name="audit.example.org/reports", file="reports.key")
    path = shared.report(*QUIET, "--key", key)
    assert verified(path, shared.book.key, key)[0] == "good"
    path.write_bytes(re.sub(rb'<script [^>]*id="seal-note">.*?</script>', b"", path.read_bytes()))
    kind, said = verified(path, shared.book.key, key)
    assert (kind, "audit.example.org/reports, whose key you pasted, signed nothing here" in said) == (
        "warn",
        True,
    )
    assert verified(path, key)[0] == "bad"


def test_it_verifies_on_load_if_the_address_says_so(made: bytes, tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(write(tmp_path, made))
    assert state_of(page) == ("unknown", "Not verified yet: press the button below.")
    page.goto("about:blank")
    page.goto(f"{(tmp_path / 'page.html').as_uri()}#verify")
    assert state_of(page)[0] == "warn"


#: What is found though the seal was written again, too, and what it is found by.
FOUND = {
    "a visible row": "row 1 of signals does not give its hash",
    "a row's hash": "row 2 of signals does not give its hash",
    "the hash before a row": "row 2 of signals does not give its hash",
    "a node of the proofs": "is not row \\d+ of the log that was signed",
    "a place in the proofs": "row 2 of signals is not row 2 of the log that was signed",
    "the checkpoint": "the checkpoint was changed: it does not have the signature of audit.example.org/trading",
    "the run": "the run that names the logs is not the one that was signed",
    "the signature of a vote": "the signature of the vote of \\w+ on .* does not hold",
    "the verdict": "the signature is of another report",
}


#: One below the seal and one beside it; the normal run tries them all with verify-report, which is cheaper.
SEALED = {"the style", "the signature of the page"}


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=() if what in SEALED else pytest.mark.long) for what in CHANGES]
)
def test_a_change_is_found(
    what: str, made: bytes, tmp_path: Path, verified: Callable[..., tuple[str, str]]
) -> None:
    kind, said = verified(write(tmp_path, changed(made, what)), watch=False)
    assert (kind, said.startswith("Do not trust this page: ")) == ("bad", True), said


#: Found as another one is, and by verify-report in the normal run, too.
ALIKE = {"a row's hash", "the hash before a row", "a node of the proofs"}


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=pytest.mark.long if what in ALIKE else ()) for what in FOUND]
)
def test_a_new_seal_does_not_hide_a_change(
    what: str, made: bytes, tmp_path: Path, verified: Callable[..., tuple[str, str]]
) -> None:
    forged = with_new_seal(changed(made, what).decode())
    kind, said = verified(write(tmp_path, forged.encode()))
    assert (kind, bool(re.search(FOUND[what], said))) == ("bad", True), said


@pytest.mark.parametrize(
    ("pattern", "other", "said"),
    [
        (
            '("element":"row-signals-1")',
            '\\1,"text":@DATA@',
            "row 1 of signals is shown otherwise than it is",
        ),
        ('(<pre id="row-signals-1">)', "<pre>another row</pre>\\1", "a text is shown like a row"),
        (
            '(<pre id="row-signals-1">)',
            '<pre id="row-signals-1" hidden="">@TEXT@</pre>\\1',
            "is shown like a row",
        ),
    ],
)
def test_another_text_than_the_verified_one_is_found(
    pattern: str, other: str, said: str, made: bytes, tmp_path: Path, open_page: OpenPage
) -> None:
    page = re.sub('<script [^>]*id="seal-note">.*?</script>', "", made.decode())
    shown = page.partition('<pre id="row-signals-1">')[2].partition("</pre>")[0]
    forged = page.replace(shown, shown.replace("BTCUSD", "ETHUSD")) if "@" in other else page
    forged = re.sub(pattern, other, forged, count=1)
    forged = forged.replace("@DATA@", json.dumps(html.unescape(shown))).replace("@TEXT@", shown)
    opened = open_page(write(tmp_path, with_new_seal(forged).encode()))
    opened.click("#verify-button")
    kind, words = state_of(opened)
    assert (kind, said in words) == ("bad", True), words


def test_a_changed_script_does_not_run(made: bytes, tmp_path: Path, open_page: OpenPage) -> None:
    content = made.replace(b"async function verifyReport()", b"async function verifyRep0rt()", 1)
    assert content != made
    page = open_page(write(tmp_path, content), watch=False)
    assert state_of(page)[1].startswith("Not verified")
    page.click("#verify-button")
    assert state_of(page)[0] == "unknown"


def test_a_proof_cannot_be_left_out(
    made: bytes, tmp_path: Path, verified: Callable[..., tuple[str, str]]
) -> None:
    without = re.sub(rb'("table":"signals","id":1,[^}]*"proof":)\[[\d,]*\]', rb"\1null", made, count=1)
    assert without != made
    path = write(tmp_path, with_new_seal(without.decode()).encode())
    assert verified(path)[1].startswith("Do not trust this page: row 1 of signals has no proof")


def test_rows_that_nobody_signed_yet_are_told_apart(
    reports: Reports, verified: Callable[..., tuple[str, str]]
) -> None:
    with reports.book.connect() as db:
        make_signal(db, 300)
    kind, said = verified(reports.report("--from", "2001-01-01"))
    assert (kind, "Newer than the checkpoint, so that nobody vouches for them yet: 1 row." in said) == (
        "warn",
        True,
    )


def test_the_key_that_a_reader_pastes_decides(
    made: bytes, written_book: Book, tmp_path: Path, open_page: OpenPage
) -> None:
    page = open_page(write(tmp_path, made))
    page.fill("#trust", public(written_book.key).read_text())
    page.click("#verify-button")
    assert "by the key that you pasted" in state_of(page)[1]
    page.fill("#trust", "hello")
    page.click("#verify-button")
    page.wait_for_selector("text=Not verified: that is no public key")
    assert state_of(page)[0] == "unknown"
    page.fill("#trust", public(make_key(tmp_path, file="other.key")).read_text())
    page.click("#verify-button")
    assert state_of(page)[0] == "bad"


def test_a_row_that_was_changed_in_the_database_is_red_in_both(
    reports: Reports, verified: Callable[..., tuple[str, str]]
) -> None:
    with reports.book.connect() as db:
        tamper(db, "update signals set quantity = 7 where id = 2")
    path = reports.report(expect=1)
    kind, said = verified(path)
    assert (kind, "row 2 of signals does not give its hash" in said) == ("bad", True)


def test_a_locked_down_book_is_never_green(
    reports: Reports, verified: Callable[..., tuple[str, str]]
) -> None:
    with reports.book.connect() as db:
        query(db, "select _engage_lockdown('a drill', %s)", ['[{"drill": 1}]'])
    kind, said = verified(reports.report(*QUIET, expect=1))
    assert (kind, said.endswith("The verdict on the database stands above: locked down.")) == ("warn", True)


def test_an_archived_book_verifies(
    new_book: Book, tmp_path: Path, verified: Callable[..., tuple[str, str]]
) -> None:
    with new_book.connect() as db:
        council = Council(db).bootstrap("ada", "ben", "cyd")
        write_year(db, 1, 300)
        council.enact("archive", Shelf(db, council).segment("ai_debates", 256), "ada", "ben", "cyd")
        query(db, "call prune_archived('ai_debates', 256)")
    new_book.sign()
    path = Reports(new_book, tmp_path).report("--key", new_book.key)
    kind, said = verified(path, new_book.key)
    assert kind == "good", said
    text = path.read_text(encoding="utf-8")
    assert "<td>1 to 256</td>" in text
    assert "not here and not recomputed: ai_debates to row 256." in text


def test_an_empty_book_has_nobody_to_vouch_for_it(
    make_database: Callable[..., str],
    template: str,
    server: Server,
    shared: Reports,
    verified: Callable[..., tuple[str, str]],
) -> None:
    shared.run("--dsn", server.dsn(make_database(template)), "-o", shared.folder / "empty.html")
    kind, said = verified(shared.folder / "empty.html")
    assert (kind, "No checkpoint is in the page" in said) == ("warn", True)


def test_hostile_texts_are_only_read(made: bytes, tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(write(tmp_path, made))
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    texts = page.evaluate("REPORT.rows.map((row) => textOf(row, ''))")
    for name, hostile in HOSTILE.items():
        (row,) = (text for text in texts if f'"raw_payload":{{"name": "{name}"' in text)
        assert json.loads(row)["raw_payload"]["text"] == hostile
    assert page.title().startswith("Audit report")
    assert page.locator("main b:text-is('bold')").count() == 0
    assert not re.search("[\u200b\u202a-\u202e\u2028]", page.content())


def test_a_text_of_a_megabyte_is_cut_and_it_says_so(made: bytes) -> None:
    assert len(made) < 1_000_000
    assert re.search(
        rb"99\d,\d{3} more characters are left out\. alpha-db prove signals \d+ writes all", made
    )
    assert LONG[:300].encode() in made


@pytest.mark.parametrize("width", [390, pytest.param(1280, marks=pytest.mark.long)])
def test_it_fits_the_screen(width: int, made: bytes, tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(write(tmp_path, made), width=width)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_prints_the_numbers_of_the_charts(made: bytes, tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(write(tmp_path, made))
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("figure details").first.get_attribute("open") == ""
    assert page.locator("figure table").first.is_visible()
    assert not page.locator("#verify-button").is_visible()
