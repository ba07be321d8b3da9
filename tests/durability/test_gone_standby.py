"""The synchronous standby is gone: commits wait for it, but no verdict does."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.checkpoint.book import run
from tests.cluster import Server
from tests.durability.acknowledged import INSTALLED
from tests.support import PATIENCE, fill, one, query, tamper, wait_until

NAME = "gone_standby"


@pytest.fixture
def dsn(durable: Server) -> Iterator[str]:
    """A book on a server that awaits a standby that nobody is."""
    durable.psql("postgres", f"create database {NAME} template {INSTALLED}")
    with psycopg.connect(durable.dsn(NAME), autocommit=True) as admin:
        fill(admin)
        query(admin, "alter system set synchronous_standby_names = 'ANY 1 (b, c)'")
        query(admin, "select pg_reload_conf()")
        wait_until(admin, "select current_setting('synchronous_standby_names') <> ''")
        try:
            yield durable.dsn(NAME)
        finally:
            query(admin, "alter system reset synchronous_standby_names")
            query(admin, "select pg_reload_conf()")
            wait_until(admin, "select current_setting('synchronous_standby_names') = ''")


def test_verification_waits_for_no_standby_that_is_gone(dsn: str) -> None:
    """It remembers its run, and engages the lockdown over damage. Whoever waits is let go when the fixture ends."""

    def verify() -> None:
        run("--dsn", dsn, "verify-chain", "--since-last")
        with psycopg.connect(dsn, autocommit=True, options="-c synchronous_commit=local") as admin:
            tamper(admin, "update signals set price = 1 where id = 2")
            said = run("--dsn", dsn, "verify-chain", expect=1).out
            assert "lockdown engaged (event 1)" in said
            assert one(admin, "select is_locked from lockdown_status()") is True

    worker = ThreadPoolExecutor(1)
    try:
        worker.submit(verify).result(PATIENCE / 4)
        said = run("--dsn", dsn, "doctor", expect=1).out
        assert "synchronous_standby_names awaits: ANY 1 (b, c)" in said
    finally:
        worker.shutdown(wait=False)
