"""Puts the figures of runs on docs/benchmarks.md: python -m bench.page FIGURES ..., files that bin/bench -o wrote.

The tables stand between `<!-- NAME -->` and `<!-- /NAME -->`. docs/benchmarks-output.txt gets the runs as the terminal
showed them.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.contestants import CALL, OURS, PGHISTORY, PLAIN, SUPA, USUAL
from bench.report import goal, number, show
from bench.statements import CALL_MANY, RECORD_MANY, VALUES

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
OUTPUT = PAGE.with_name("benchmarks-output.txt")

Document = Mapping[str, Any]
Place = tuple[str, str, str]
#: What the parts with targets measure.
WHAT = {
    "cost": "processor time of a row",
    "append": "rows a second",
    "latency": "latency",
    "bulk": "time of a row",
    "history": "processor time of a tracked change",
    "proofs": "",
    "verify": "verification",
    "ed25519": "ed25519",
    "hydrator": "risk limits",
}


def main() -> None:
    """Fill the page."""
    documents = [json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]]
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), documents), encoding="utf-8")
    shown = io.StringIO()
    for document in documents:
        show(document, shown)
        shown.write("\n")
    OUTPUT.write_text(
        "\n".join(line.rstrip() for line in shown.getvalue().splitlines()) + "\n", encoding="utf-8"
    )


def filled(page: str, documents: Sequence[Document]) -> str:
    """Return the page with the tables of these runs."""
    for name, table in TABLES_OF_PAGE.items():
        text = "\n".join(table(documents))
        page, found = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda match: f"{match[1]}\n{text}\n\n{match[2]}",  # noqa: B023 (called at once)
            page,
            flags=re.S,
        )
        if not found:
            raise ValueError(f"the page has no place for {name}")
    return page


def _targets(documents: Sequence[Document]) -> list[str]:
    """What has a target, and whether it is met; a missed one is bold."""
    runs = [_by_place(document) for document in documents]
    lines = _row("", "", "target", *(f"{d['server_version']}, {d['sha256']}" for d in documents))
    lines += ["|---|---|---|" + "---|" * len(documents)]
    for place, figure in runs[0].items():
        if figure["target"] is None:
            continue
        part, scenario, contestant = place
        kind = "ratio" if figure["target"]["of"] == "ratio" else "median"
        unit = "" if kind == "ratio" else f" {figure['unit']}"
        cells = [_cell(run.get(place), kind) for run in runs]
        what = ", ".join(text for text in (WHAT[part], scenario) if text)
        lines += _row(what, contestant, goal(figure["target"]).removeprefix("× ") + unit, *cells)
    return lines


def _cell(figure: Mapping[str, Any] | None, kind: str) -> str:
    if figure is None:
        return ""
    text = number(figure[kind])
    return f"**{text}**" if figure["met"] is False else text


def _beside(documents: Sequence[Document]) -> list[str]:
    """The ratios of all contestants, of each run."""
    runs = [_by_place(document) for document in documents]
    columns = ([USUAL], [SUPA], [PGHISTORY], [OURS, RECORD_MANY], [CALL, CALL_MANY])
    lines = _row("ratio to the plain table", *(names[0] for names in columns))
    lines += ["|---|" + "---|" * len(columns)]
    scenarios = dict.fromkeys(
        (part, scenario) for part, scenario, _ in runs[0] if part in {"cost", "append", "bulk", "proofs"}
    )
    for part, scenario in scenarios:
        if not {PLAIN, VALUES} & {place[2] for place in runs[0] if place[:2] == (part, scenario)}:
            continue
        cells = []
        for names in columns:
            ratios = [
                number(run[part, scenario, name]["ratio"])
                for run in runs
                for name in names
                if (part, scenario, name) in run
            ]
            cells.append(" / ".join(ratios))
        what = f"{WHAT[part]}, {scenario}" if not scenario.startswith(" ") else scenario.strip()
        lines += _row(what, *cells)
    return lines


def _handover(documents: Sequence[Document]) -> list[str]:
    """What the part handover found, one line for each number of writers."""
    lines: list[str] = []
    for document in documents:
        run = _by_place(document)
        kinds = {
            "processor, µs/row": ("processor time of a row, no flush", "{}"),
            "row's time to its commit, µs": ("from a row's time to its commit, no flush", "{}"),
            "commit to the next row's time, µs": ("from a commit to the next row's time, no flush", "{}"),
            "rows/s, no flush": ("{}, no flush", "measured"),
            "model": ("{}, no flush", "model"),
            "rows/s, native disk": ("{}, native disk", "measured"),
            "model, native disk": ("{}, native disk", "model"),
            "16 cores, no flush": ("model, 16 cores, no flush, caches as here", "{}"),
            "caches warm": ("model, 16 cores, no flush, caches warm", "{}"),
            "16 cores, native disk": ("model, 16 cores, native disk, caches as here", "{}"),
            "warm, native disk": ("model, 16 cores, native disk, caches warm", "{}"),
        }
        lines += [*([""] if lines else []), f"PostgreSQL {document['server_version']}:", ""]
        lines += [*_row("", *kinds), "|---|" + "---|" * len(kinds)]
        writers = [place[2] for place in run if place[1] == "processor time of a row, no flush"]
        for who in writers:
            figures = [run.get(("handover", s.format(who), c.format(who))) for s, c in kinds.values()]
            lines += _row(who, *("" if f is None else number(f["median"]) for f in figures))
    return lines


TABLES_OF_PAGE: dict[str, Callable[[Sequence[Document]], list[str]]] = {
    "targets": _targets,
    "beside": _beside,
    "handover": _handover,
}


def _by_place(document: Document) -> dict[Place, Mapping[str, Any]]:
    return {(f["part"], f["scenario"], f["contestant"]): f for f in document["figures"]}


def _row(*cells: str) -> list[str]:
    return [f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")]


if __name__ == "__main__":
    main()
