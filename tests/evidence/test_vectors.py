"""tests/vectors/evidence: what our readers say of each, and that they are made without them."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest

from alpha_db.cli.main import main
from alpha_db.evidence import offline_check
from tests.evidence.vectors import FOLDER, LIST, files

pytestmark = pytest.mark.any_server

FACTS = json.loads((FOLDER / LIST).read_text(encoding="utf-8"))
CODES = {"holds": 0, "refused": 1, "unreadable": 3, "not_there": 5}


def test_they_are_what_made_by_hand_makes() -> None:
    there = {file.relative_to(FOLDER).as_posix() for file in (FOLDER / "evidence").iterdir()} | {LIST}
    assert there == set(files())
    for name, text in files().items():
        assert (FOLDER / name).read_bytes() == text.encode(), name


def test_every_verdict_is_among_them() -> None:
    for kind in ("checkpoint", "proof", "export", "segment"):
        verdicts = {one["verdict"] for one in FACTS["vectors"] if one["kind"] == kind}
        assert verdicts >= {"holds", "refused", "unreadable"}


@pytest.mark.parametrize("vector", FACTS["vectors"], ids=lambda one: str(one["file"]))
@pytest.mark.usefixtures("no_connections")
def test_what_our_readers_say(vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    against = ("--checkpoint", vector["checkpoint"]) if "checkpoint" in vector else ()
    arguments = [vector["file"], *against, "--trust", FACTS["trust"]]
    code = CODES[vector["verdict"]]
    kind = {"segment": "export"}.get(vector["kind"], vector["kind"])
    assert offline_check.main([kind, *arguments]) == code
    commands = {"proof": "verify-proof", "export": "verify-export", "checkpoint": "checkpoint verify"}
    assert main([*commands[kind].split(), *arguments]) == code


def test_the_facts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    assert offline_check.main(["proof", "evidence/signals-3.tlog-proof", "--trust", FACTS["trust"]]) == 0
    out = capsys.readouterr().out
    assert f"log        {FACTS['log']['origin']}\ncheckpoint 3 runs, root {FACTS['log']['root']}\n" in out
    assert (
        f"signals: 5 rows, root {FACTS['root']}\nrow        3\nrow_hash   {FACTS['row_hashes'][2]}\n" in out
    )
    tree = offline_check.MerkleTree()
    for row_hash in FACTS["log"]["row_hashes"]:
        tree.add(sha256(b"\0" + bytes.fromhex(row_hash)).digest())
    assert tree.root().hex() == FACTS["log"]["root"]
