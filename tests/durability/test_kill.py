"""SIGKILL to a server under load: every acknowledged row is there after the restart.

A killed process loses what is in its memory, here the WAL that is in the server's buffers and not yet handed to
the kernel; what the kernel has, it keeps. So this proves that an acknowledgement comes after the WAL was written, and
that what survives is a prefix of each chain. That it was flushed, too, is what test_flush.py proves.

All processes that write WAL in the background are held still meanwhile, so that no row survives by their grace;
the control shows that rows are lost here as soon as nobody flushes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import psycopg
import pytest

from tests.cluster import Server
from tests.durability.acknowledged import (
    DATABASE,
    Acknowledged,
    assert_whole,
    call_each,
    lost,
)
from tests.durability.conftest import Connecting
from tests.durability.desk import Desk
from tests.durability.processes import backends, kill_everything, stopped

# What survives a kill is the order of the log's records, which test_flush.py has for every server.
pytestmark = pytest.mark.any_server

CALLERS, RECORDERS = 8, 4


def kill_while_they_write(
    server: Server, desk: Desk, writers: list[Callable[[], None]], chance: random.Random
) -> None:
    """Start the writers, and kill the server when enough rows are acknowledged."""
    with psycopg.connect(server.dsn(DATABASE), autocommit=True) as observer, ExitStack() as still:
        still.enter_context(stopped(*backends(observer)))
        with ThreadPoolExecutor(len(writers)) as pool:
            futures = [pool.submit(writer) for writer in writers]
            try:
                desk.wait_for_more(100)
                desk.calm.set()
                desk.wait_for_more(chance.randrange(50, 150))
            finally:
                desk.calm.set()
                kill_everything(server)
        for future in futures:
            problem = future.exception()
            assert problem is None or isinstance(problem, psycopg.OperationalError), problem


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.long)])
def test_every_acknowledged_row_survives_a_kill(durable: Server, session: Connecting, rounds: int) -> None:
    acknowledged: list[Acknowledged] = []
    for number in range(rounds):
        desk = Desk()
        shared = f"shared-{rounds}-{number}"
        writers: list[Callable[[], None]] = [
            *(partial(desk.call, session(), shared) for _ in range(CALLERS)),
            *(partial(desk.record, session()) for _ in range(RECORDERS)),
        ]
        kill_while_they_write(durable, desk, writers, random.Random(number))
        acknowledged += desk.acknowledged
        durable.start()
        with psycopg.connect(durable.dsn(DATABASE), autocommit=True) as connection:
            assert lost(connection, acknowledged) == []
            assert_whole(connection)
            assert lost(connection, list(call_each(connection))) == []
            assert_whole(connection)


def test_what_nobody_flushes_is_lost_here(durable: Server, session: Connecting) -> None:
    """The control: callers who ask for no flush (synchronous_commit = off) lose rows, from the end only."""
    desk = Desk()
    writers: list[Callable[[], None]] = [
        partial(desk.call, session(synchronous_commit="off"), "control") for _ in range(CALLERS)
    ]
    kill_while_they_write(durable, desk, writers, random.Random(0))
    durable.start()
    with psycopg.connect(durable.dsn(DATABASE), autocommit=True) as connection:
        assert lost(connection, desk.acknowledged) != []
        assert_whole(connection)
