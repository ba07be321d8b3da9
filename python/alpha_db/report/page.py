"""The page of a report: the verdict first, then the period, then each trade, and what the page proves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from alpha_db.evidence.checkpoint.history import Run
from alpha_db.evidence.offline_check import Key, Policy
from alpha_db.pages import (
    Element,
    Node,
    document,
    element,
    read_resource,
    shared_scripts,
    state,
    verification,
)
from alpha_db.report import lists, sections
from alpha_db.report.custody import Custody, custody
from alpha_db.report.proofs import Proofs, embedded_run, vkey
from alpha_db.report.reading import Reading
from alpha_db.report.texts import period_in_words
from alpha_db.report.verdict import Verdict


class Signer(NamedTuple):
    """Who signs a page: the public key, and what makes of the seal what stands beside it."""

    vkey: str
    sign: Callable[[str], Any]


def render(
    reading: Reading,
    verdict: Verdict,
    proofs: Proofs,
    run: Run | None,
    *,
    keys: Sequence[Key] = (),
    policy: Policy | None = None,
    signer: Signer | None = None,
) -> bytes:
    """Return the report as one HTML file. The same arguments give the same bytes.

    Takes what was read and judged, the proofs of the trades' rows, the run that they are proofs of, the trusted keys,
    the policy, and who signs the page's seal.
    """
    told = custody(reading.trades, proofs)
    listed, signatures = lists.proposals(reading.activity) if reading.activity else (None, [])
    embedded = {
        "state": verdict.word,
        "run": embedded_run(run, keys, policy),
        "nodes": proofs.nodes,
        "rows": told.embedded,
        "signatures": signatures,
    }
    title = f"Audit report, {_about(reading)}"
    body = [
        element(
            "main",
            element("h1", title),
            element(
                "p",
                f"Installation {reading.installation}, schema {reading.schema}. All times are UTC. "
                f"The newest row is of {reading.newest}.",
                class_="dim",
            ),
            _verdict(verdict),
            verification(),
            _verifier(run, keys, signer),
            lists.damage(reading),
            *_period(reading),
            listed,
            *_rest(reading),
            _trades(reading, told, proofs),
            _proves(run, signer is not None),
        )
    ]
    return document(
        title,
        body,
        scripts=[
            *shared_scripts(),
            *(read_resource("alpha_db.report", name) for name in ("shown.js", "report.js")),
        ],
        styles=[read_resource("alpha_db.report", "report.css")],
        data={"report": embedded},
        sign=signer.sign if signer else None,
    )


def _about(reading: Reading) -> str:
    if reading.period is None:
        return f"trade {reading.trades.shown[0].correlation_id}" if reading.trades.shown else "one trade"
    return period_in_words(reading.period)


def _verdict(verdict: Verdict) -> Element:
    return element(
        "div",
        element("p", "What alpha-db found in the database when it wrote this page:", class_="dim"),
        element("p", state(verdict.kind, verdict.headline), class_="verdict"),
        element("ul", *(element("li", state(kind, said)) for kind, said in verdict.found), class_="found"),
        class_=f"box {verdict.kind}",
        id="verdict",
    )


def _verifier(run: Run | None, keys: Sequence[Key], signer: Signer | None) -> Element:
    mine = [vkey(key) for key in keys if run and key.name == run.checkpoint.origin]
    return element(
        "div",
        element("p", element("button", "Verify this page in the browser", id="verify-button", type="button")),
        element(
            "label",
            "Public keys that you got elsewhere, not from this page, one on each line:",
            element("textarea", id="trust", rows=2, spellcheck="false", autocomplete="off"),
        ),
        element(
            "p",
            "The key of the checkpoint: ",
            element("code", ", ".join(mine) or "none, there is no checkpoint"),
        ),
        element(
            "p",
            "The key that signed the page: ",
            element("code", signer.vkey if signer else "none, it is not signed"),
        ),
        class_="verifier",
    )


def _period(reading: Reading) -> list[Node | None]:
    if reading.activity is None or reading.period is None:
        return []
    return [
        sections.figures(reading.activity),
        sections.activity_charts(reading.activity),
        lists.changes(reading.activity),
    ]


def _rest(reading: Reading) -> list[Node | None]:
    if reading.activity is None:
        return []
    return [lists.attempts(reading.activity), lists.archived(reading.activity)]


def _trades(reading: Reading, told: Custody, proofs: Proofs) -> Element:
    printed = "A trade that is open is printed with its rows; the others are printed as a line."
    problems = [*reading.trades.problems, *(f"proofs of {said}" for said in proofs.problems)]
    return element(
        "section",
        element("h2", "Trades and their chain of custody"),
        *(element("p", state("unknown", f"This could not be read: {said}")) for said in problems),
        element("p", shown_of(reading, told)),
        element("p", printed, class_="dim") if told.elements else None,
        *told.elements,
    )


def shown_of(reading: Reading, told: Custody) -> str:
    """Return how many trades are shown of how many."""
    number = len(told.elements)
    if reading.activity is None:
        return "This trade is shown whole."
    figures = {row["figure"]: row["number"] for row in reading.activity.figures.rows}
    total = figures.get("signals")
    if total is None:
        return f"{number:,} trades are shown; how many there are could not be counted."
    if total > number:
        said = f"The newest {number:,} of {total:,} trades are shown."
        return f"{said} alpha-db report --correlation ID shows any of them."
    return f"All {total:,} trades of the period are shown." if total else "There was no trade in this period."


def _proves(run: Run | None, is_signed: bool) -> Element:
    signed = (
        "It is signed besides: paste the signer's public key, which you got elsewhere."
        if is_signed
        else "It is not signed (--key), so it shows accidental changes, and not somebody who wrote the page again."
    )
    anchor = (
        "Rows are recomputed from the text that you see, and followed up to the checkpoint's signature. Nobody can "
        "make such rows without its private key. Get the public key from somebody you trust, not from this page."
        if run
        else "There is no checkpoint in the page, so whoever wrote the page could have made up every row."
    )
    return element(
        "section",
        element("h2", "What this page proves, and what not"),
        element("p", f"The browser compares the whole page with its seal, a SHA-256. {signed}"),
        element("p", anchor),
        element(
            "p",
            "Verdict, figures and charts are the word of the database and of whoever ran the report. Of the rows, "
            "the page proves those that are listed with trades, and it verifies signatures of proposals and votes. It "
            "cannot prove that nothing is missing from the list.",
        ),
        element(
            "p",
            "Anyone who writes the whole page again can give it another script, which shows a tick for any key. So "
            "compare the SHA-256 of the file with the one that the sender tells you by another way: sha256sum FILE. "
            "Or run alpha-db verify-report, which does not use the page's script.",
        ),
    )
