"""How many acknowledged rows a failover loses: python -m tests.durability.measure_failover [--rounds 3] [--rows 2000].

Four writers (two CALL, one INSERT, one record_signals) write until so many rows are acknowledged; then the primary is
killed by SIGKILL, and the standby promoted. docs/standbys.md has the figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

import psycopg

from tests.cluster import Server, choose_binaries
from tests.durability.acknowledged import DATABASE, SETTINGS, assert_whole, lost
from tests.durability.desk import Desk
from tests.durability.processes import kill_everything
from tests.standbys import cut_off, promote, standby_of
from tests.support import Connection, changed_guards, migrate_with_psql, one, query, wait_until

#: What is measured: the standby's setting, and whether it is cut off for the last quarter of the rows.
MODES = {
    "asynchronous": ("", "on", False),
    "asynchronous, cut off": ("", "on", True),
    "synchronous, on": ("walreceiver", "on", False),
    "synchronous, remote_apply": ("walreceiver", "remote_apply", False),
}


@contextmanager
def written(primary: Server, setting: str) -> Iterator[Desk]:
    """Writers that go on until the server is killed, which is what the body does."""
    desk = Desk()
    with ExitStack() as opened:

        def connection() -> Connection:
            options = f"-c synchronous_commit={setting}"
            return opened.enter_context(
                psycopg.connect(primary.dsn(DATABASE, options=options), autocommit=True)
            )

        writers: list[Callable[[], None]] = [
            partial(desk.call, connection(), "first"),
            partial(desk.call, connection(), "second"),
            partial(desk.insert, connection()),
            partial(desk.record_many, connection()),
        ]
        with ThreadPoolExecutor(len(writers)) as pool:
            futures = [pool.submit(writer) for writer in writers]
            try:
                yield desk
            finally:
                kill_everything(primary)
        for future in futures:
            assert isinstance(future.exception(), psycopg.OperationalError), future.exception()


def measure(mode: str, rows: int) -> tuple[int, int]:
    """One failover; gives how many rows were acknowledged, and how many of them are lost."""
    names, setting, is_cut = MODES[mode]
    binaries = choose_binaries(None)
    with Server(binaries, SETTINGS) as primary:
        primary.psql("postgres", f"create database {DATABASE}")
        migrate_with_psql(primary, DATABASE)
        with standby_of(primary) as standby:
            with psycopg.connect(primary.dsn("postgres"), autocommit=True) as admin:
                query(admin, f"alter system set synchronous_standby_names = '{names}'")
                query(admin, "select pg_reload_conf()")
                wanted = "sync" if names else "async"
                wait_until(
                    admin, "select exists (select from pg_stat_replication where sync_state = %s)", [wanted]
                )
            with written(primary, setting) as desk:
                desk.wait_for_more(rows * 3 // 4)
                if is_cut:
                    cut_off(primary, standby)
                desk.wait_for_more(rows // 4)
            promote(standby)
            with psycopg.connect(standby.dsn(DATABASE), autocommit=True) as new:
                missing = lost(new, desk.acknowledged)
                assert_whole(new)
                assert changed_guards(new) == []
                assert one(new, "select is_locked from lockdown_status()") is False
    return len(set(desk.acknowledged)), len(missing)


def main() -> None:
    """Measure every mode, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2000)
    given = parser.parse_args()
    for mode in MODES:
        found = [measure(mode, given.rows) for _ in range(given.rounds)]
        told = ", ".join(f"{missing:,} of {acknowledged:,}" for acknowledged, missing in found)
        print(f"{mode:<26} lost {told}", flush=True)


if __name__ == "__main__":
    main()
