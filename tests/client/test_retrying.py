"""retrying(): what may succeed when it is run again is run again, and nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

import alpha_db
from alpha_db import aio, errors
from tests.client.given import SIGNAL
from tests.fix_database import Connect
from tests.support import Connection, make_signal, one

pytestmark = pytest.mark.any_server

RAISED: dict[str, Callable[[], Exception]] = {
    "40001": lambda: psycopg.errors.SerializationFailure("lost"),
    "40P01": lambda: errors.RetryNeeded("deadlock", sqlstate="40P01"),
    "55P03": lambda: errors.LockTimeout("locked", sqlstate="55P03"),
}


def run(problems: list[Exception], **given: Any) -> list[int]:
    """The numbers of the attempts, each of which raises the next problem."""
    numbers = []
    for attempt in alpha_db.retrying(longest=0, **given):
        with attempt:
            numbers.append(attempt.number)
            if problems:
                raise problems.pop(0)
    return numbers


def run_awaited(problems: list[Exception], **given: Any) -> list[int]:
    """As run()."""
    numbers = []

    async def loop() -> None:
        async for attempt in aio.retrying(longest=0, **given):
            async with attempt:
                numbers.append(attempt.number)
                if problems:
                    raise problems.pop(0)

    asyncio.run(loop())
    return numbers


@pytest.mark.parametrize("go", [run, run_awaited])
def test_what_succeeds_is_run_once(go: Any) -> None:
    assert go([]) == [1]


@pytest.mark.parametrize("go", [run, run_awaited])
@pytest.mark.parametrize("state", RAISED)
def test_what_may_succeed_is_run_again(go: Any, state: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "alpha_db.retry"):
        assert go([RAISED[state](), RAISED[state]()]) == [1, 2, 3]
    assert [state in record.getMessage() for record in caplog.records] == [True, True]
    assert "attempt 1 of 5" in caplog.text


@pytest.mark.parametrize("go", [run, run_awaited])
@pytest.mark.parametrize(
    "problem",
    [
        ValueError("x"),
        errors.ConnectionFailed("gone", sqlstate="08006"),
        psycopg.errors.UniqueViolation("twice"),
        errors.DecimalError("AUD-001: x", sqlstate="AUD01"),
        errors.StatementCancelled("timeout", sqlstate="57014"),
        errors.WrongState("aborted before", sqlstate="25P02"),
    ],
    ids=lambda problem: type(problem).__name__,
)
def test_every_other_error_is_raised_at_once_as_it_is(go: Any, problem: Exception) -> None:
    problems = [problem, ValueError("a second attempt")]
    with pytest.raises(type(problem)) as caught:
        go(problems)
    assert caught.value is problem
    assert len(problems) == 1


@pytest.mark.parametrize("go", [run, run_awaited])
def test_the_last_error_is_raised_as_it_is(go: Any, caplog: pytest.LogCaptureFixture) -> None:
    problems = [RAISED["40001"]() for _ in range(4)]
    third = problems[2]
    with pytest.raises(psycopg.errors.SerializationFailure) as caught:
        go(problems, attempts=3)
    assert caught.value is third
    assert len(problems) == 1
    assert "attempt 3 of 3 failed, the last" in caplog.text


def test_pauses_double_and_vary(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    for _ in range(50):
        for attempt in alpha_db.retrying(4, first=1, longest=3):
            with attempt:
                if attempt.number < 4:
                    raise RAISED["40001"]()
    for place, most in enumerate((1, 2, 3)):
        pauses = slept[place::3]
        assert most / 2 <= min(pauses) < max(pauses) <= most
        assert len(set(pauses)) > 1


def test_a_race_that_is_lost_is_won_by_the_next_attempt(db: Connection, connect: Connect) -> None:
    conn = connect(autocommit=True, default_transaction_isolation="repeatable read")
    for attempt in alpha_db.retrying(longest=0):
        with attempt, conn.transaction():
            one(conn, "select count(*) from signals")
            if attempt.number == 1:
                make_signal(db, 1)
            row = alpha_db.record_signal(conn, **SIGNAL)
    assert (attempt.number, row["id"]) == (2, 2)


def test_in_an_open_transaction_it_cannot_help_and_says_so(db: Connection, connect: Connect) -> None:
    conn = connect(autocommit=False, default_transaction_isolation="repeatable read")

    def write() -> None:
        one(conn, "select count(*) from signals")
        make_signal(db, 1)
        for attempt in alpha_db.retrying(longest=0):
            with attempt:
                alpha_db.record_signal(conn, **SIGNAL)

    with pytest.raises(errors.WrongState, match="the transaction that failed is still open") as caught:
        write()
    assert isinstance(caught.value.__cause__, errors.RetryNeeded)
    assert "with attempt, conn.transaction()" in str(caught.value.hint)
