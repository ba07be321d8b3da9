"""A run's result: the table on stdout, and the document for a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import IO, Any

from rich.console import Console
from rich.table import Table

from bench.measure import Figure


def document(figures: Sequence[Figure], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run as it goes into the JSON file; `format` grows when a member changes its meaning."""
    return {
        "format": 3,
        **facts,
        "figures": [asdict(figure) | {"met": figure.met} for figure in figures],
    }


def show(found: Mapping[str, Any], file: IO[str] | None = None) -> None:
    """Print the run on stdout, or into a file."""
    # as wide as the table needs where nobody looks, so that a file of it reads like a terminal
    seen = file is None and (sys.stdout.isatty() or "COLUMNS" in os.environ)
    console = Console(file=file, width=None if seen else 160, highlight=False)
    machine, settings = found["machine"], found["settings"]
    quick = ", quick: too short to quote" if found["quick"] else ""
    console.print(
        f"alpha-db {found['alpha_db']} on PostgreSQL {found['server_version']}, SHA-256 by {found['sha256']}{quick}",
        markup=False,
    )
    for facts in (machine, settings):
        console.print(
            ", ".join(f"{name} {value}" for name, value in facts.items()), markup=False, soft_wrap=True
        )
    table = Table()
    for heading in ("part", "scenario", "contestant"):
        table.add_column(heading, no_wrap=heading != "scenario")
    for heading in ("p5", "median", "p95", "p99", "unit", "samples", "ratio", "target"):
        table.add_column(heading, justify="left" if heading == "unit" else "right", no_wrap=True)
    last = None
    for figure in found["figures"]:
        place = figure["part"], figure["scenario"]
        if last not in (None, place):
            table.add_section()
        verdict = {None: "", True: " met", False: " missed"}[figure["met"]]
        table.add_row(
            *(("", "") if last == place else place),
            figure["contestant"],
            number(figure["p5"]),
            number(figure["median"]),
            number(figure["p95"]),
            number(figure["p99"]),
            figure["unit"],
            str(figure["samples"]),
            "1" if figure["ratio"] is None else number(figure["ratio"]),
            goal(figure["target"]) + verdict,
        )
        last = place
    console.print(table)
    parts = ", ".join(f"{name} {seconds:.0f}" for name, seconds in found["parts"].items())
    console.print(f"{found['seconds']:.0f} s ({parts})", markup=False)


def goal(target: Mapping[str, Any] | None) -> str:
    """Return a target as the table shows it: a ratio with a sign of its own."""
    if target is None:
        return ""
    bound = "≤" if target["bound"] == "at most" else "≥"
    return f"{'× ' if target['of'] == 'ratio' else ''}{bound} {target['limit']:g}"


def number(value: float | None) -> str:
    """Return a number with three digits that count."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"
