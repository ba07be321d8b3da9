"""The pages, and how they are spread over files of tests, which run side by side."""

from __future__ import annotations

from pathlib import Path

from tests.support import ROOT

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/**/*.md"),
        *ROOT.glob("python/**/*.md"),
    ]
)
SHARES = 3


def name_of(page: Path) -> str:
    """The page's name from the root of the checkout."""
    return str(page.relative_to(ROOT))


def share(number: int) -> list[Path]:
    """Every SHARES-th page."""
    return PAGES[number::SHARES]
