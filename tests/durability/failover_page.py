"""The blocks of docs/standbys.md about a failover, run as printed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.checkpoint.book import Book, public
from tests.cluster import Server, client_environment
from tests.documents.blocks import Block, read_page
from tests.support import ROOT

PAGE = ROOT / "docs" / "standbys.md"


def blocks(heading: str) -> list[Block]:
    """The blocks below a heading of the page, up to the next heading of the same depth."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    first = lines.index(f"### {heading}") + 1
    last = next((n for n in range(first, len(lines)) if lines[n].startswith("##")), len(lines))
    return [block for block in read_page(PAGE).blocks if first < block.line <= last]


def run_block(block: Block, folder: Path, book: Book, former: Server, expect: int = 0) -> str:
    """Run a block in a folder; its names of servers stand for those that run here."""
    auditor, app = ("failover_auditor", "failover_app")
    text = block.text
    for name, server in (("new", book.server), ("former", former)):
        for login, user in (("desk_auditor", auditor), ("app", app)):
            text = text.replace(
                f"postgresql://{login}@{name}.example/trading", f"'{server.dsn(book.dbname, user)}'"
            )
    text = text.replace("\"'", '"').replace("'\"", '"')  # in Python it is quoted already
    command = (
        [sys.executable, "-c", text]
        if block.language == "python"
        else ["bash", "-euo", "pipefail", "-c", text]
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env=client_environment({"PATH": path}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expect, (text, done)
    return done.stdout


def place(folder: Path, book: Book) -> None:
    """Put the book's checkpoints and key where the page has them."""
    shutil.copytree(book.checkpoints, folder / "checkpoints" / "trading")
    shutil.copy(book.key, folder / "checkpoint.key")
    shutil.copy(public(book.key), folder / "checkpoint.key.vkey")
