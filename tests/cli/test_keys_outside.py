"""Agents and logs sign with keys that are in no file; what such a key does wrong changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checkpoint.book import Book, run
from tests.cli.desk import Desk
from tests.keys.holders import needs_openssl
from tests.support import Connection, one

pytestmark = [pytest.mark.any_server, needs_openssl]
pytest_plugins = ["tests.cli.fix_desk"]
LOOSER = ("risk", "update-param", "max_leverage_ratio", "3")


def command(file: Path) -> str:
    """The key that openssl signs with."""
    return f"exec:openssl pkeyutl -sign -rawin -in /dev/stdin -inkey {file}"


def test_an_agent_votes_by_a_command(governed: Desk) -> None:
    proposal = governed.propose("ada", *LOOSER)
    public = ("--public", str(governed.folder / "ben.json"))
    made = governed.run(
        "risk", "approve", proposal, "--key", command(governed.key("ben")), *public, "--yes", "--json"
    )
    assert made.json["agent"]["name"] == "ben"
    assert governed.approve(proposal, "cyd") == ["APPLIED"]


@pytest.mark.parametrize(
    ("key", "public", "code", "said"),
    [
        ("cyd", "ben", 3, "does not hold, so nothing was sent"),
        ("nobody", "ben", 3, "failed with exit code 1, so nothing was sent"),
        ("cyd", "cyd", 1, "the key is not that of agent ben"),
    ],
)
def test_a_vote_that_the_agents_key_did_not_sign_is_not_sent(
    governed: Desk, db: Connection, key: str, public: str, code: int, said: str
) -> None:
    proposal = governed.propose("ada", *LOOSER)
    votes = one(db, "select count(*) from votes")
    given = ("--key", command(governed.key(key)), "--public", str(governed.folder / f"{public}.json"))
    found = governed.run("risk", "approve", proposal, "--agent", "ben", *given, "--yes", expect=code)
    assert said in found.err
    assert one(db, "select count(*) from votes") == votes


def test_a_proposal_that_the_key_did_not_sign_is_not_sent(governed: Desk, db: Connection) -> None:
    given = ("--key", "exec:true", "--public", str(governed.folder / "ada.json"), "--reason", "r", "--yes")
    assert "true printed nothing" in governed.run(*LOOSER, *given, expect=3).err
    assert one(db, "select count(*) from vw_proposals where status = 'PENDING'") == 0


def test_a_checkpoint_that_the_key_did_not_sign_is_not_written(new_book: Book) -> None:
    new_book.write(1)
    public = ("--public", f"{new_book.key}.vkey")
    given = ("--dsn", new_book.dsn, "checkpoint", "create", new_book.checkpoints)
    found = run(*given, "--key", "exec:head -c 64 /dev/zero", *public, expect=3)
    assert "does not hold, so nothing was sent" in found.err
    assert [file for file in new_book.checkpoints.iterdir() if file.name != ".lock"] == []
    new_book.sign()
    new_book.verify(expect=0)
