"""Every psql session prints its checked-in output, with the server's own psql."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pytest

from tests.cluster import Server
from tests.sql.sessions import SESSIONS, output_of, run
from tests.support import ROOT


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: str(session.stem))
def test_session_prints_its_output(session: Path, server: Server, database: str) -> None:
    expected = output_of(session).read_text(encoding="utf-8").splitlines(keepends=True)
    printed = run(session, server, database).splitlines(keepends=True)
    difference = "".join(difflib.unified_diff(expected, printed, output_of(session).name, "now"))
    assert not difference, f"python -m tests.sql.sessions writes it again:\n{difference}"


def documented() -> set[str]:
    """The functions of which a page on the SQL interface shows the signature."""
    pages = sorted((ROOT / "docs" / "sql").glob("*.md"))
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    blocks = "\n".join(re.findall(r"^```text\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    return set(re.findall(r"^(\w+)\(", blocks, re.MULTILINE))


def test_every_documented_function_is_called_in_a_session() -> None:
    called = " ".join(session.read_text(encoding="utf-8") for session in SESSIONS)
    assert len(documented()) > 40
    assert {name for name in documented() if not re.search(rf"\b{name}\(", called)} == set()
