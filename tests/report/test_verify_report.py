"""alpha-db verify-report: what the browser says of a page, without the page's own script."""

from __future__ import annotations

import hashlib
import html
import json
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from alpha_db.evidence.offline_check import Key, Refused, Unreadable, load_keys
from alpha_db.report.verify import verify_report
from tests.checkpoint.book import Book, make_key, public, run
from tests.report.book import Reports
from tests.report.changes import CHANGES, changed, with_new_seal
from tests.report.test_report import QUIET
from tests.support import make_signal

pytestmark = pytest.mark.any_server

#: What is found though the page has a new seal and no signature, and by what.
FOUND = {
    "a visible row": "row 1 of signals does not give its hash",
    "a row's hash": "row 2 of signals does not give its hash",
    "the hash before a row": "row 2 of signals does not give its hash",
    "a node of the proofs": r"row \d+ is not the row \d+ of the log that .* signed",
    "a place in the proofs": "row 2 is not the row 2 of the log that audit.example.org/trading signed",
    "the checkpoint": "the checkpoint in it: the note was changed",
    "the run": r"run \d+ is not the run \d+ of the log that audit.example.org/trading signed",
    "the signature of a vote": r"the signature of the vote of \w+ on .* does not hold",
}


@pytest.fixture
def trusted(written_book: Book) -> list[Key]:
    """The key that signed the page and the checkpoint."""
    return keys(written_book.key)


def keys(*files: Path) -> list[Key]:
    """The public halves of these keys."""
    return load_keys(public(file).read_text().strip() for file in files)


def unsigned(page: str) -> str:
    """The page without its signature, and with the seal that fits it, as somebody would write it who changed it."""
    return with_new_seal(re.sub(r'<script [^>]*id="seal-note">.*?</script>\n', "", page))


def data_of(page: str) -> dict[str, Any]:
    """The data of a page."""
    found = json.loads(page.partition('id="report">')[2].partition("<")[0])
    assert isinstance(found, dict)
    return found


def malformed(made: bytes, name: str, value: object) -> str:
    """The page with another value of a member of its data, and without a signature."""
    page = made.decode()
    text = json.dumps(data_of(page) | {name: value}).replace("<", "\\u003c").replace(">", "\\u003e")
    return unsigned(re.sub('(id="report">)[^<]*', lambda found: found[1] + text, page, count=1))


def test_an_intact_report_holds(made: bytes, written_book: Book, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_bytes(made)
    found = run("verify-report", path, "--trust", public(written_book.key), "--json").json
    assert (found["verdict"], found["report_verdict"]) == ("holds", "intact")
    assert (found["page_signer"], found["checkpoint"]["signer"]) == ("audit.example.org/trading",) * 2
    assert (found["newer"], found["signatures"], found["is_our_script"]) == ([], 6, True)
    assert found["rows"] > 20
    said = run("verify-report", path, "--trust", public(written_book.key)).out
    assert "page        as audit.example.org/trading signed it" in said
    assert "verdict     intact, says the report" in said


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_refused(what: str, made: bytes, trusted: list[Key]) -> None:
    with pytest.raises(Refused):
        verify_report(changed(made, what).decode(), trusted)


@pytest.mark.parametrize("what", FOUND)
def test_a_new_seal_does_not_hide_a_change(what: str, made: bytes, trusted: list[Key]) -> None:
    with pytest.raises(Refused, match=FOUND[what]):
        verify_report(unsigned(changed(made, what).decode()), trusted)


def test_without_a_signature_nobody_vouches_for_the_verdict(made: bytes, trusted: list[Key]) -> None:
    forged = unsigned(made.decode().replace("INTACT: every hash holds", "INTACT: all is well"))
    assert verify_report(forged, trusted).page_signer is None


def test_a_signature_that_was_taken_away_is_missed(shared: Reports, tmp_path: Path) -> None:
    key = make_key(tmp_path, name="audit.example.org/reports", file="reports.key")
    page = shared.report(*QUIET, "--key", key).read_text()
    both = keys(shared.book.key, key)
    assert verify_report(page, both).page_signer == "audit.example.org/reports"
    with pytest.raises(Refused, match=r"audit.example.org/reports, whom you trust, signed nothing in it"):
        verify_report(unsigned(page), both)


def test_another_key_of_the_same_name_is_refused(made: bytes, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="none of the trusted keys"):
        verify_report(made.decode(), keys(make_key(tmp_path, file="other.key")))


def test_a_changed_script_is_found(made: bytes, trusted: list[Key]) -> None:
    page = made.decode().replace("async function verifyReport()", "async function verifyRep0rt()", 1)
    with pytest.raises(Refused, match="its script was changed"):
        verify_report(page, trusted)


@pytest.mark.parametrize("member", ["proof", "hash"])
def test_the_place_of_a_row_that_is_too_long_is_verified(
    member: str, made: bytes, trusted: list[Key]
) -> None:
    page = made.decode()
    (row,) = [each for each in data_of(page)["rows"] if each.get("length") and each["table"] == "signals"]
    assert f"row {row['id']} of signals" in verify_report(page, trusted).too_long
    other = {"proof": row["proof"][1:], "hash": "0" * 64}[member]
    rows = [each | ({member: other} if each == row else {}) for each in data_of(page)["rows"]]
    with pytest.raises(Refused, match=f"row {row['id']} is not the row {row['id']} of the log"):
        verify_report(malformed(made, "rows", rows), trusted)


def test_a_script_of_somebody_else_is_told(made: bytes, trusted: list[Key]) -> None:
    page = made.decode()
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)[-1]

    def hash_of(text: str) -> str:
        return b64encode(hashlib.sha256(text.encode()).digest()).decode()

    other = page.replace(f"<script>{script}</script>", "<script>alert(1)</script>")
    other = other.replace(html.escape(hash_of(script)), html.escape(hash_of("alert(1)")))
    assert verify_report(page, trusted).is_our_script
    assert not verify_report(unsigned(other), trusted).is_our_script


@pytest.mark.parametrize(
    ("pattern", "other", "said"),
    [
        ('("element":"row-signals-1")', r"\1,"r'"text":"{}"', "row 1 of signals is shown otherwise than it is"),
        ('(<pre id="row-signals-1">)', r"<pre>another row</pre>\1", "a text is shown like a row"),
        ('(<pre id="row-signals-1">)', r'<pre id="row-signals-1">x</pre>\1', "two texts of the page have the id"),
        ("</main>", r"</main><main>more</main>", None),
    ],
)  # fmt: skip
def test_another_text_than_the_verified_one_is_found(
    pattern: str, other: str, said: str | None, made: bytes, trusted: list[Key]
) -> None:
    forged = unsigned(re.sub(pattern, other, made.decode(), count=1))
    if said is None:  # unsigned, so nobody vouches for it
        assert verify_report(forged, trusted).page_signer is None
        return
    with pytest.raises(Refused, match=said):
        verify_report(forged, trusted)


def test_rows_that_nobody_signed_yet_are_named(reports: Reports) -> None:
    with reports.book.connect() as db:
        make_signal(db, 300)
    page = reports.report("--from", "2001-01-01").read_text()
    (name,) = verify_report(page, keys(reports.book.key)).newer
    assert re.fullmatch(r"row \d+ of signals", name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rows", None), ("rows", [{}]), ("rows", [1]), ("nodes", ["x"]), ("signatures", {}), ("run", []), ("run", {}),
        ("rows", [{"table": "signals", "id": "x"}]), ("signatures", [{"who": "x"}]), ("nodes", None),
    ],
)  # fmt: skip
def test_malformed_data_is_no_report(name: str, value: object, made: bytes, trusted: list[Key]) -> None:
    with pytest.raises(Unreadable):
        verify_report(malformed(made, name, value), trusted)


@pytest.mark.parametrize("text", ["", "hello", "<!DOCTYPE html>\n", "<script></script>\n" * 20_000])
def test_what_is_no_report_is_said_to_be_none(text: str, trusted: list[Key]) -> None:
    with pytest.raises(Unreadable, match="it is not a report of alpha-db"):
        verify_report(text, trusted)


def test_a_report_that_goes_on_is_none(made: bytes, trusted: list[Key]) -> None:
    for more in ("<p>more</p>\n", "<script></script>\n" * 2000):
        with pytest.raises(Unreadable):
            verify_report(made.decode() + more, trusted)
    many = made.decode().replace("</body>\n", "<script></script>\n" * 2000 + "</body>x")
    with pytest.raises(Unreadable):
        verify_report(many, trusted)


@pytest.mark.parametrize(("file", "code"), [("missing.html", 5), ("latin.html", 3), ("other.html", 3)])
def test_what_cannot_be_checked_has_its_exit_code(
    file: str, code: int, tmp_path: Path, written_book: Book
) -> None:
    (tmp_path / "latin.html").write_bytes(b"\xe9")
    (tmp_path / "other.html").write_text("<p>no report</p>")
    run("verify-report", tmp_path / file, "--trust", public(written_book.key), expect=code)


def test_a_refusal_is_exit_1(made: bytes, tmp_path: Path, written_book: Book) -> None:
    path = tmp_path / "report.html"
    path.write_bytes(changed(made, "a figure"))
    refused = run("verify-report", path, "--trust", public(written_book.key), "--json", expect=1).json
    assert refused["verdict"] == "refused"
    assert "its seal, a SHA-256, is another one" in refused["reason"]
