"""alpha_db.aio does what alpha_db does, awaited."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import alpha_db
from alpha_db import aio, errors
from alpha_db.aio.pooled import PinningAsyncConnection
from alpha_db.pooled import is_pooled
from tests.client.given import CORRELATION, GIVEN, SIGNAL
from tests.cluster import Server
from tests.pooler.pgbouncer import PROGRAM, pgbouncer, through
from tests.support import Connection, make_signal, one

pytestmark = pytest.mark.any_server
needs_pgbouncer = pytest.mark.skipif(
    PROGRAM is None, reason="no pgbouncer here (Debian: apt-get install pgbouncer)"
)


@pytest.fixture
def dsn(server: Server, database: str, db: Connection) -> str:
    """A database with a signal and an order."""
    make_signal(db, 1, correlation_id=CORRELATION)
    alpha_db.record_order(db, **GIVEN["order"])
    return server.dsn(database)


def test_every_name_has_its_twin() -> None:
    ours = {name for name in alpha_db.__all__ if name.startswith(("append_", "record_"))}
    assert ours | {"connect", "pool", "retrying"} == set(aio.__all__)
    for name in ours:
        twin, own = (inspect.signature(getattr(module, name)) for module in (aio, alpha_db))
        assert [*twin.parameters.values()][1:] == [*own.parameters.values()][1:], name


@pytest.mark.parametrize("what", GIVEN)
@pytest.mark.parametrize("autocommit", [True, False])
def test_a_writer_gives_what_its_twin_gives(dsn: str, db: Connection, what: str, autocommit: bool) -> None:
    own = {how: getattr(alpha_db, f"{how}_{what}")(db, **GIVEN[what]) for how in ("record", "append")}

    async def write() -> dict[str, Any]:
        async with await aio.connect(dsn, autocommit=autocommit) as conn:
            return {how: await getattr(aio, f"{how}_{what}")(conn, **GIVEN[what]) for how in own}

    found = asyncio.run(write())
    for how, row in found.items():
        assert {key: type(value) for key, value in row.items()} == {
            key: (type(None) if key == "correlation_id" and what == "order_event" and not autocommit
                  else type(value))
            for key, value in own[how].items()
        }  # fmt: skip
        assert row["id"] >= own[how]["id"]
    assert one(db, "select max(id) >= %s from webhook_deliveries" if what == "webhook" else "select %s > 0",
               [found["append"]["id"]])  # fmt: skip


def test_a_call_is_sent_only_in_autocommit(dsn: str, db: Connection) -> None:
    async def write(autocommit: bool) -> bool:
        async with await aio.connect(dsn, autocommit=autocommit) as conn:
            await aio.append_signal(conn, **SIGNAL | {"signal_id": f"{autocommit}"})
            is_there = bool(
                one(db, "select exists (select from signals where signal_id = %s)", [f"{autocommit}"])
            )
            await conn.rollback()
        return is_there

    assert (asyncio.run(write(True)), asyncio.run(write(False))) == (True, False)


def test_many(dsn: str) -> None:
    given: list[Any] = [SIGNAL | {"signal_id": f"s{n}"} for n in range(3)]

    async def write() -> tuple[Any, Any]:
        async with await aio.connect(dsn, autocommit=True) as conn:
            return (
                await aio.record_many(conn, "signals", given),
                await aio.append_many(conn, "signals", given),
            )

    recorded, appended = asyncio.run(write())
    assert [row["signal_id"] for row in recorded] == ["s0", "s1", "s2"]
    assert [(row["id"], row["is_new"]) for row in appended] == [(row["id"], False) for row in recorded]


def test_a_refusal_is_the_twins(dsn: str) -> None:
    async def refused(**changes: Any) -> errors.AlphaDbError:
        async with await aio.connect(dsn) as conn:
            with pytest.raises(errors.AlphaDbError) as caught:
                await aio.append_signal(conn, **SIGNAL | changes)
        return caught.value

    for changes, code, column in (
        ({"price": 1.5}, "AUD-001", "price"),
        ({"side": "hold"}, "23514", "side"),
        ({"colour": 1}, "42883", "colour"),
    ):
        problem = asyncio.run(refused(**changes))
        assert (problem.code, problem.column) == (code, column)


def test_a_connection_of_the_other_kind_is_told_which_to_use(dsn: str, db: Connection) -> None:
    given: list[Any] = [SIGNAL]

    async def both() -> None:
        async with await aio.connect(dsn) as conn:
            other: Any = conn
            with pytest.raises(errors.WrongType, match="not a connection") as sync:
                alpha_db.record_signal(other, **SIGNAL)
            assert "await alpha_db.aio.record_signal" in str(sync.value.hint)
            with pytest.raises(errors.WrongType, match="not a connection"):
                alpha_db.record_many(other, "signals", given)
        own: Any = db
        with pytest.raises(errors.WrongType, match="not an asynchronous connection") as awaited:
            await aio.append_signal(own, **SIGNAL)
        assert "call alpha_db.append_signal" in str(awaited.value.hint)
        with pytest.raises(errors.WrongType, match="not an asynchronous connection"):
            await aio.append_many(own, "signals", given)

    asyncio.run(both())


def test_names_are_pinned(dsn: str) -> None:
    async def path(**given: Any) -> Any:
        async with await aio.connect(dsn, **given) as conn:
            assert not is_pooled(conn)
            await conn.rollback()
            return await (await conn.execute("select current_setting('search_path')")).fetchone()

    assert asyncio.run(path(schema="public")) == ("public, pg_temp",)
    assert asyncio.run(path(options="-csearch_path=public,pg_toast")) == ("public, pg_temp",)


def test_what_fails_names_no_password(server: Server) -> None:
    async def fail() -> None:
        await aio.connect("postgresql://u:se@cr/et@h/db")

    with pytest.raises(errors.ConnectionFailed) as caught:
        asyncio.run(fail())
    assert "cr/et" not in f"{caught.value} {caught.value.__cause__}"
    del server


@pytest.fixture
def pooler(server: Server, dsn: str, database: str) -> Iterator[str]:
    """The way through a pooler, in whose one session another client left what it could."""
    del dsn
    with pgbouncer(server, 1, "postgres") as folder:
        url = _through(folder, database)
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as other:
            other.execute("create schema evil")
            other.execute("set search_path = evil, public, pg_catalog")
            other.execute("set standard_conforming_strings = off")
        yield url


def _through(folder: Path, database: str) -> str:
    return through(folder, database, "postgres")


@needs_pgbouncer
def test_behind_a_pooler_each_transaction_is_told(pooler: str) -> None:
    shown = "select current_setting('search_path'), current_setting('standard_conforming_strings')"
    pinned = ("public, pg_temp", "on")

    async def ask() -> None:
        async with await aio.connect(pooler, schema="public", autocommit=True) as conn:
            assert isinstance(conn, PinningAsyncConnection)
            assert await (await conn.execute(shown)).fetchone() == pinned
            async with conn.transaction():
                assert await (await conn.execute(shown)).fetchone() == pinned
            async with conn.cursor() as cursor, cursor.copy(f"copy ({shown}) to stdout") as copy:
                assert [row async for row in copy.rows()] == [pinned]
            first = await aio.append_signal(conn, **SIGNAL | {"signal_id": "a"})
            row = await aio.record_signal(conn, **SIGNAL | {"signal_id": "r"})
            assert row["id"] == first["id"] + 1
        async with await aio.connect(pooler, schema="public") as conn:
            assert await (await conn.execute(shown)).fetchone() == pinned
            assert (await aio.append_signal(conn, **SIGNAL | {"signal_id": "t"}))["id"] == row["id"] + 1

    asyncio.run(ask())


@needs_pgbouncer
def test_a_pool_behind_a_pooler(pooler: str) -> None:
    async def write() -> None:
        async with aio.pool(pooler, schema="public", min_size=2) as pool:
            for n in range(4):
                async with pool.connection() as conn:
                    await aio.append_signal(conn, **SIGNAL | {"signal_id": f"p{n}"})

    asyncio.run(write())
    with alpha_db.pool(pooler, schema="public") as pool, pool.connection() as conn:
        assert one(conn, "select count(*) from signals where signal_id like 'p_'") == 4
