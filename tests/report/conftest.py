"""Books for reports: one with everything in it, of which each test gets a copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.checkpoint.book import Book, make_key
from tests.cluster import Server
from tests.fix_database import Prepared
from tests.report.book import Reports, write


@pytest.fixture(scope="session")
def written_book(server: Server, prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Book:
    """The book, with one checkpoint. Shared: change nothing of it."""
    folder = tmp_path_factory.mktemp("reported")
    (folder / "checkpoints").mkdir()
    book = Book(server, prepared("reported_book", write), folder / "checkpoints", make_key(folder))
    book.sign()
    return book


@pytest.fixture
def shared(written_book: Book, tmp_path: Path) -> Reports:
    """Reports of the shared book, for tests that change nothing of it."""
    return Reports(written_book, tmp_path)


@pytest.fixture
def reports(written_book: Book, make_database: Callable[..., str], tmp_path: Path) -> Reports:
    """Reports of a copy of the book and its checkpoints."""
    checkpoints = tmp_path / "checkpoints"
    shutil.copytree(written_book.checkpoints, checkpoints)
    copy = replace(written_book, dbname=make_database(written_book.dbname), checkpoints=checkpoints)
    return Reports(copy, tmp_path)


@pytest.fixture(scope="session")
def made(written_book: Book, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The report of the intact book, signed."""
    reports = Reports(written_book, tmp_path_factory.mktemp("made"))
    return reports.report("--key", written_book.key).read_bytes()
