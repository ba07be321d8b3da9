"""Verifying a report without a browser: nothing that the page says of itself is believed, and its script is not run.

Of what is visible, the signature of the page vouches for all, and the proofs for the rows; see docs/report.md.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from html import unescape
from html.parser import HTMLParser
from typing import Any, NamedTuple

from alpha_db.evidence.checkpoint.note import compose_row_proof, compose_run_proof
from alpha_db.evidence.offline_check import (
    Key,
    Proof,
    Refused,
    RunRow,
    Unreadable,
    leaf_hash,
    open_checkpoint,
    open_note,
    shown,
    verify_inclusion,
    verify_proof,
)
from alpha_db.pages import read_resource, shared_scripts
from alpha_db.report.texts import shortened
from alpha_db.security import ed25519

#: The scripts of a report that stand in this package, behind those that all pages share.
OWN_SCRIPTS = ("shown.js", "report.js")
#: The largest file that is read; a report has 5 MB at most, but for a trade of very many rows.
MAX_REPORT = 256 * 1024 * 1024
_BLOCK = '<script type="application/json" id="{}">'
# As alpha_db.pages.document() writes a file. Nothing else is taken for one, so nothing stands beside what is checked.
_FILE = re.compile(
    r'<!DOCTYPE html>\n<html lang="en">\n<head>\n'
    r"(?P<head>(?:<meta [^<>]*>\n)+<title>[^<>]*</title>\n(?:<style>[^<]*</style>\n)+)"
    r"</head>\n<body>\n(?P<main><main>.*</main>)\n"
    rf"(?P<data>{_BLOCK.format('report')}(?P<report>[^<>]*)</script>)\n"
    rf'{_BLOCK.format("seal")}"(?P<seal>[0-9a-f]{{64}})"</script>\n'
    rf"(?:{_BLOCK.format('seal-note')}(?P<note>[^<>]*)</script>\n)?"
    r"(?P<scripts>(?:<script>(?:(?!</script>).)*</script>\n)+)</body>\n</html>\n",
    re.DOTALL,
)
_PARTS_OF_HEAD = re.compile(r"(<meta [^<>]*>|<title>[^<>]*</title>|<style>[^<]*</style>)\n")
_SCRIPT = re.compile(r"<script>(.*?)</script>\n", re.DOTALL)


class Verified(NamedTuple):
    """What was verified of a report, and what not."""

    state: str  #: the report's own verdict on the database, which only the signature of the page vouches for
    page_signer: str | None  #: the trusted key that signed the page as a whole
    checkpoint: Proof | None  #: the run that a trusted key signed, with its checkpoint
    rows: int  #: rows in the logs that were signed
    newer: list[str]  #: rows that give their hashes, and are newer than the checkpoint, or without one
    too_long: list[str]  #: rows whose text is not in the page as a whole
    signatures: int  #: signatures of proposals and votes, by the keys that the page names
    is_our_script: bool  #: whether the page's script is the one of this version


def verify_report(text: str, keys: Sequence[Key]) -> Verified:
    """Verify a report, the text of its file, with the public keys that somebody trusts.

    Raises Unreadable for what is no report, Refused if anything in it does not hold: its seal, the signature of the
    page or of the checkpoint, a row, a proof, a signature of a proposal or a vote, a text that is shown otherwise than
    it was verified, or a trusted key that signed nothing in it.
    """
    try:
        return _verified(text, keys)
    except (Refused, Unreadable):
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError):
        raise Unreadable("its data is malformed") from None


def _verified(text: str, keys: Sequence[Key]) -> Verified:
    page = _FILE.fullmatch(text)
    if not page:
        raise Unreadable("it is not a report of alpha-db, or not as it was written")
    is_our_script = _check_seal(page)
    report = _object(page["report"], "the data of the page")
    page_signer = _page_signer(page, keys)
    run = _Run.of(report, keys)
    signers = {page_signer, run.proof.head.signer if run else None} - {None}
    if idle := [key.name for key in keys if key.name not in signers]:
        by = ", ".join(sorted(shown(name) for name in signers if name)) or "nobody whom you trust"
        raise Refused(
            f"{', '.join(map(shown, idle))}, whom you trust, signed nothing in it; it is signed by {by}"
        )
    texts = _Texts(page["main"])
    rows = list(_rows(report, run, texts))
    signatures = sum(1 for signed in _list(report, "signatures") if _check_signature(signed, texts))
    texts.require_known()
    found: dict[str, list[str]] = {"signed": [], "newer": [], "too_long": []}
    for name, kind in rows:
        found[kind].append(name)
    return Verified(
        str(report.get("state")),
        page_signer,
        run.proof if run else None,
        len(found["signed"]),
        found["newer"],
        found["too_long"],
        signatures,
        is_our_script,
    )


def _check_seal(page: re.Match[str]) -> bool:
    """Raise Refused if the file is not as it was sealed; return whether its script is ours."""
    pieces = [*_PARTS_OF_HEAD.findall(page["head"]), page["main"], page["data"]]
    if hashlib.sha256("".join(pieces).encode()).hexdigest() != page["seal"]:
        raise Refused("it was changed after it was written: its seal, a SHA-256, is another one")
    scripts = _SCRIPT.findall(page["scripts"])
    hashes = " ".join(
        f"'sha256-{b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts
    )
    if f"; script-src {hashes};" not in unescape(pieces[1]):
        raise Refused("its script was changed after it was written")
    return scripts == [*shared_scripts(), *(read_resource("alpha_db.report", name) for name in OWN_SCRIPTS)]


def _page_signer(page: re.Match[str], keys: Sequence[Key]) -> str | None:
    """The name of the trusted key that signed the seal; None if nobody, or a stranger, did."""
    if page["note"] is None:
        return None
    note = str(_object(page["note"], "the signature of the page").get("note"))
    names = {key.name for key in keys}
    if not any(f"\n— {name} " in note for name in names):
        return None
    text, key = open_note(note, keys, ed25519.verify)
    if text != f"alpha-db/report/v1\nsha256: {page['seal']}\n":
        raise Refused("the signature of the page is of another report")
    return key.name


class _Run(NamedTuple):
    """The run that a checkpoint signs, whose heads the proofs of the rows lead to."""

    row: RunRow
    note: str
    proof: Proof
    keys: Sequence[Key]

    @classmethod
    def of(cls, report: Mapping[str, Any], keys: Sequence[Key]) -> _Run | None:
        """Verify it with the trusted keys. None if there is none in the page."""
        run = report.get("run")
        if run is None:
            return None
        note = str(run["note"])
        try:
            size = open_checkpoint(note, keys, ed25519.verify).size
        except Refused as problem:
            raise Refused(f"the checkpoint in it: {problem}") from None
        row = RunRow(size, str(run["previous"]), str(run["row_data"]), [_node(node) for node in run["proof"]])
        return cls(row, note, verify_proof(compose_run_proof(row, note), keys, ed25519.verify), keys)

    def check(self, table: str, row_id: int, previous: str, text: str, path: Sequence[bytes]) -> None:
        """Raise Refused if the row is not this row of its table's log."""
        proof = compose_row_proof(table, row_id, previous, text, path, self.row, self.note)
        verify_proof(proof, self.keys, ed25519.verify)

    def check_place(self, table: str, row_id: int, row_hash: bytes, path: Sequence[bytes]) -> None:
        """Raise Refused if a hash is not that of this row of its table's log."""
        head = self.proof.run.head(table)
        if not verify_inclusion(leaf_hash(row_hash), row_id - 1, head.size, path, head.root):
            raise Refused(f"row {row_id} is not the row {row_id} of the log that {head.signer} signed")

    def covers(self, table: str, row_id: int) -> bool:
        """Whether the log of the table had this row when the run was recorded."""
        heads = self.proof.run.heads
        return table in heads and row_id <= heads[table].size


def _rows(report: Mapping[str, Any], run: _Run | None, texts: _Texts) -> Iterator[tuple[str, str]]:
    """Verify each row; give its name, and whether it is signed, newer, or too long."""
    nodes = [_node(node) for node in _list(report, "nodes")]
    for row in _list(report, "rows"):
        table, row_id = str(row["table"]), int(row["id"])
        name = f"row {row_id} of {shown(table)}"
        path = None if row["proof"] is None else [nodes[at] for at in row["proof"]]
        if path is None and run and run.covers(table, row_id):
            raise Refused(f"{name} has no proof, and the checkpoint covers it")
        if "length" in row:
            texts.take(row, name)
            if path is not None and run:
                run.check_place(table, row_id, bytes.fromhex(row["hash"]), path)
            yield name, "too_long"
            continue
        text = texts.of(row, name)
        if row["previous"] is None:
            raise Refused(f"the row before {name} is missing")
        previous = str(row["previous"])
        if hashlib.sha256(bytes.fromhex(previous) + text.encode()).hexdigest() != row["hash"]:
            raise Refused(f"{name} does not give its hash")
        if not text.startswith(f'{{"id":{row_id},'):
            raise Refused(f"{name} says that it is another row")
        if path is not None and run:
            run.check(table, row_id, previous, text, path)
            yield name, "signed"
        else:
            yield name, "newer"


def _check_signature(signed: Mapping[str, Any], texts: _Texts) -> bool:
    """Raise Refused if a signature of a proposal or a vote does not hold."""
    who = f"the signature of {shown(str(signed['who']))}"
    text = texts.of(signed, who)
    if not ed25519.verify(bytes.fromhex(signed["key"]), text.encode(), bytes.fromhex(signed["signature"])):
        raise Refused(f"{who} does not hold")
    return True


class _Texts(HTMLParser):
    """The texts that the page shows as rows and as signed texts: what stands in its elements pre, by their id."""

    def __init__(self, main: str) -> None:
        super().__init__(convert_charrefs=True)
        self._shown: dict[str, str] = {}
        self._open: str | None = None
        self._taken: set[str] = set()
        self.feed(main)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin with the text of a pre."""
        if tag == "pre":
            self._open = dict(attrs).get("id") or ""
            if self._open in self._shown:
                raise Refused(f"two texts of the page have the id {shown(self._open)}")
            self._shown[self._open] = ""

    def handle_endtag(self, tag: str) -> None:
        """End with it."""
        if tag == "pre":
            self._open = None

    def handle_data(self, data: str) -> None:
        """Take a part of it."""
        if self._open is not None:
            self._shown[self._open] += data

    def take(self, item: Mapping[str, Any], name: str) -> str:
        """Return what is shown of a row or of a signed text."""
        element = str(item["element"])
        if element not in self._shown:
            raise Refused(f"{name} is not shown")
        self._taken.add(element)
        return self._shown[element].removeprefix("\n")  # which a browser drops, and document() doubles

    def of(self, item: Mapping[str, Any], name: str) -> str:
        """Return the text to verify, which is shown, or of which is shown what a page shows of it."""
        seen = self.take(item, name)
        text = item.get("text")
        if text is None:
            return seen
        if shortened(str(text))[0] != seen:
            raise Refused(f"{name} is shown otherwise than it is")
        return str(text)

    def require_known(self) -> None:
        """Raise Refused for a text that looks like a row and was not verified; a long signed text says so itself."""
        for element in self._shown.keys() - self._taken:
            if not re.match(r"(proposal|vote)-", element):
                raise Refused("a text is shown like a row, and it is none of the rows that are verified")


def _list(report: Mapping[str, Any], name: str) -> list[Any]:
    found = report.get(name)
    if not isinstance(found, list):
        raise Unreadable(f"{name} is missing from the data of the page")
    return found


def _object(text: str, what: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Unreadable(f"{what} cannot be read")
    return found


def _node(text: object) -> bytes:
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9+/]{43}=", text):
        raise Unreadable("a node of a proof is malformed")
    return b64decode(text)
