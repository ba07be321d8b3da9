"""alpha-db risk proposals --watch: each change is said once, as it comes."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cli.desk import Desk
from tests.cluster import client_environment
from tests.support import PATIENCE, ROOT

pytestmark = pytest.mark.any_server
pytest_plugins = ["tests.cli.fix_desk"]

COMMAND = ("risk", "proposals", "--watch", "--interval", "0.1")


@contextmanager
def watching(desk: Desk, *options: str, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, which is killed at the end, or when nothing comes for too long."""
    with subprocess.Popen(
        [sys.executable, "-m", "alpha_db", "--dsn", desk.dsn, *COMMAND, *options],
        stdout=stdout,
        stdin=subprocess.DEVNULL,
        text=True,
        env=client_environment({"PYTHONPATH": str(ROOT / "python"), "TERM": "xterm"}),
    ) as child:
        late = threading.Timer(PATIENCE, child.kill)
        late.start()
        try:
            yield child
        finally:
            late.cancel()
            child.kill()


def until(lines: Iterator[str], wanted: str) -> str:
    """All that comes until a line has this in it."""
    said = ""
    for line in lines:
        said += line
        if wanted in line:
            return said
    raise AssertionError(f"it ended before it said {wanted}: {said}")


def test_a_pipe_gets_each_change_in_words(governed: Desk) -> None:
    with watching(governed) as child:
        assert child.stdout
        until(child.stdout, "No proposal is pending.")
        proposal_id = governed.propose("ada", "risk", "update-param", "max_leverage_ratio", "3")
        name = f"{proposal_id[:8]} (risk_config)"
        said = until(child.stdout, "expires")
        assert f"ada proposed {name}" in said
        assert "2.00 → 3.00  loosens" in said
        governed.approve(proposal_id, "ben")
        assert f"ben voted APPROVE on {name}" in until(
            child.stdout, "1 more, it has 1 of 2 approvals; cyd may vote"
        )
        governed.approve(proposal_id, "cyd")
        until(child.stdout, f"{name} is APPLIED: cyd voted APPROVE")
        child.send_signal(signal.SIGINT)
        assert child.wait(PATIENCE) == 0


def test_json_is_one_line_for_each_change(governed: Desk) -> None:
    proposal_id = governed.propose("ada", "risk", "update-param", "max_leverage_ratio", "3")

    def event(line: str) -> tuple[Any, ...]:
        answer = json.loads(line)
        assert (answer["ok"], answer["error"]) == (True, None)
        found = answer["result"]
        return found["event"], found["proposal"]["status"], found["proposal"]["approvals"]

    with watching(governed, "--json") as child:
        assert child.stdout
        assert event(child.stdout.readline()) == ("pending", "PENDING", 0)
        governed.approve(proposal_id, "ben")
        assert event(child.stdout.readline()) == ("voted", "PENDING", 1)
        governed.run("risk", "reject", proposal_id, *governed.sign("cyd"))
        assert event(child.stdout.readline()) == ("closed", "REJECTED", 1)


def test_a_terminal_shows_how_it_stands_now(governed: Desk) -> None:
    proposal_id = governed.propose("ada", "risk", "update-param", "max_leverage_ratio", "3")
    ours, theirs = pty.openpty()
    with watching(governed, stdout=theirs), os.fdopen(ours, errors="replace") as screen:
        until(screen, "0 of 2 approvals")
        governed.approve(proposal_id, "ben")
        said = until(screen, "1 of 2 approvals")
        last = said[said.rindex("\x1b[2J") :]
        assert re.search(rf"ben voted APPROVE on {proposal_id[:8]}", last)
        os.close(theirs)


def test_it_is_about_what_is_pending(governed: Desk) -> None:
    assert "leave --all out" in governed.run(*COMMAND, "--all", expect=2).err
