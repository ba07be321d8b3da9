"""A book whose report has everything in it: limits, votes, trades, hostile texts, verification runs, checkpoints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.checkpoint.book import Book, Result, public, run
from tests.risk.council import Council, limits, threshold
from tests.support import Connection, Row, fill, make_signal, query

#: Texts that would do harm if a page took them for more than texts.
HOSTILE = {
    "script": "</script><script>document.title='taken'</script>",
    "markup": "<img src=x onerror=\"document.title='taken'\"><b>bold</b>",
    "comment": "<!-- --><!--<script>",
    "override": "pay \u202ella\u202c now\u200b\u2028next",
    "nul": "\\u0000",
    "entity": "&lt;b&gt; &amp;amp; ' \"",
}
LONG = "x" * 1_000_000


def write(connection: Connection) -> None:
    """Fill a database: three agents, two versions of limits, a proposal that is open, trades, refused attempts."""
    council = Council(connection).bootstrap("ada", "ben", "cyd")
    council.enact("risk_config", limits(), "ada", "ben", "cyd")
    council.enact("risk_config", limits("0.04"), "ben", "ada")
    council.propose("asset_kill_threshold", threshold("ETHUSD"), "cyd", reason=HOSTILE["markup"])
    fill(connection, signals=4)
    for number, (name, text) in enumerate(HOSTILE.items()):
        payload = json.dumps({"name": name, "text": text})
        signal = make_signal(connection, 100 + number, signal_id=text[:60], raw_payload=payload)
        _decide(connection, signal, text)
    long = make_signal(connection, 200, raw_payload=json.dumps({"text": LONG}))
    _decide(connection, long, LONG)
    query(
        connection,
        "select record_verification(true, (select jsonb_object_agg(table_name, last_id) from chain_status()), 9)",
    )


def _decide(connection: Connection, signal: Row, reason: str) -> None:
    query(
        connection,
        "select id from record_decision(%s, 'BTCUSD', 'BUY', 1, 2, 3, false, %s, 'NORMAL')",
        [signal["correlation_id"], reason],
    )


@dataclass(frozen=True)
class Reports:
    """Makes reports of a book."""

    book: Book
    folder: Path

    @property
    def evidence(self) -> tuple[object, ...]:
        """The options that name the checkpoints."""
        return "--checkpoints", self.book.checkpoints, "--trust", public(self.book.key)

    def report(self, *options: object, expect: int = 0, name: str = "report.html") -> Path:
        """alpha-db report with the checkpoints; gives the file."""
        self.run(*self.evidence, *options, "-o", self.folder / name, "--force", expect=expect)
        return self.folder / name

    def run(self, *options: object, expect: int | None = 0) -> Result:
        """alpha-db report with these options alone."""
        return run("report", "--dsn", self.book.dsn, *options, expect=expect)
