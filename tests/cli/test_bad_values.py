"""Whatever a command is given, it answers in a line that people can read, with an exit code that says what it is."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from alpha_db.cli.main import main
from tests.cli.bad_values import WAITS, Files, arguments, bad_values, commands, complaints, parameters
from tests.cluster import Server
from tests.fix_database import Prepared
from tests.support import Connection, make_signal

pytestmark = pytest.mark.any_server

COMMANDS = dict(commands())
HANGS = "this takes for ever"
#: What takes so long hangs, however busy the machine is.
SECONDS = 30
#: Commands that work for long before they end: without --all each parameter gets every third bad value,
#: the next parameter those behind them.
SLOW = {"report", "verify-chain", "status", "risk watch", "watch", "tables extend", "migrate", "export", "server run",
        "demo", "doctor", "tiles", "retention plan", "retention prune", "tables chain", "tables track",
        "tables untrack"}  # fmt: skip


@pytest.fixture(scope="module")
def dsn(server: Server, prepared: Prepared) -> str:
    def fill(connection: Connection) -> None:
        make_signal(connection)

    return server.dsn(prepared("bad_values", fill))


@pytest.fixture(scope="module")
def files(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Files:
    def run(*words: str) -> str:
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(io.StringIO()) as err:
            code = main(["--dsn", dsn, *words])
        assert code == 0, (words, err.getvalue())
        return out.getvalue()

    return Files(tmp_path_factory.mktemp("bad"), run)


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with Path(os.devnull).open(encoding="utf-8") as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        yield


@pytest.fixture(autouse=True)
def no_hanging() -> Iterator[None]:
    def too_slow(*_: Any) -> None:
        raise TimeoutError(HANGS)

    before = signal.signal(signal.SIGALRM, too_slow)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_bad_value_is_answered_in_words(
    dsn: str,
    files: Files,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
    name: str,
) -> None:
    step = 3 if name in SLOW and not pytestconfig.getoption("--all") else 1
    monkeypatch.chdir(files.folder)
    kind = COMMANDS[name]
    wrong = []
    for number, parameter in enumerate(parameters(kind)):
        if (name, parameter.name) in WAITS:
            continue
        for value in bad_values(parameter, files)[number % step :: step]:
            given = arguments(name, parameter, value, files, kind)
            signal.alarm(SECONDS)
            code = main(["--dsn", dsn, *given])
            signal.alarm(0)
            out, err = capsys.readouterr()
            found = list(complaints(code, out, err))
            if found or HANGS in out + err:
                shown = " ".join(word if len(word) < 80 else word[:40] + "…" for word in given)
                wrong.append(f"{shown!r} -> {code}: {found} {err[:300]} {out[:100]}")
    assert not wrong, "\n".join(wrong)
