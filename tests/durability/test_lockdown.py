"""A lockdown outlives a crash of the server and the promotion of its standby."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.cluster import Server
from tests.durability.acknowledged import INSTALLED
from tests.standbys import promote, standby_of
from tests.support import Connection, fill, make_signal, one, query, wait_until

BOOK = "lockdown_book"


@pytest.fixture
def primary(durable: Server) -> Iterator[Server]:
    """A server with a book of its own, whose lockdown nobody else is to meet."""
    durable.psql("postgres", f"create database {BOOK} template {INSTALLED}")
    with connected(durable) as book:
        fill(book)
    yield durable
    durable.psql("postgres", f"drop database {BOOK} with (force)")


def connected(server: Server) -> Connection:
    return psycopg.connect(server.dsn(BOOK), autocommit=True)


def assert_closed(server: Server) -> None:
    with connected(server) as book:
        assert one(book, "select is_locked from lockdown_status()") is True
        with pytest.raises(psycopg.DatabaseError, match="AUD-009"):
            make_signal(book, 99)


def test_a_crash_after_the_event(primary: Server) -> None:
    with connected(primary) as book:
        query(book, "select _engage_lockdown('test', '[]')")
    primary.stop("immediate", keep=True)
    primary.start()
    assert_closed(primary)


def test_the_promotion_of_a_standby(primary: Server) -> None:
    with standby_of(primary) as standby:
        with connected(primary) as book, connected(standby) as copy:
            query(book, "select _engage_lockdown('test', '[]')")
            wait_until(copy, "select is_locked from lockdown_status()")
        promote(standby)
        assert_closed(standby)
