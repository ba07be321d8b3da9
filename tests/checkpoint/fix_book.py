"""A book with three checkpoints, and copies of it for whoever tampers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.checkpoint.book import Book, make_key
from tests.cluster import Server
from tests.fix_database import Connection


@pytest.fixture(scope="session")
def signed_book(
    server: Server, admin: Connection, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Book:
    """A database with three checkpoints, of 3, 6 and 9 signals. Shared: change nothing of it."""
    folder = tmp_path_factory.mktemp("signed")
    (folder / "checkpoints").mkdir()
    admin.execute(f"create database checkpoint_book template {template}")
    book = Book(server, "checkpoint_book", folder / "checkpoints", make_key(folder))
    for first in (1, 4, 7):
        book.write(first)
        book.sign()
    return book


@pytest.fixture
def book(signed_book: Book, make_database: Callable[..., str], tmp_path: Path) -> Book:
    """A copy of the book and its checkpoints."""
    checkpoints = tmp_path / "checkpoints"
    shutil.copytree(signed_book.checkpoints, checkpoints)
    return replace(signed_book, dbname=make_database(signed_book.dbname), checkpoints=checkpoints)


@pytest.fixture
def new_book(server: Server, database: str, tmp_path: Path) -> Book:
    """A database without rows and without checkpoints."""
    folder = tmp_path / "new"
    (folder / "checkpoints").mkdir(parents=True)
    return Book(server, database, folder / "checkpoints", make_key(folder))
