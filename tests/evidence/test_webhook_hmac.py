"""docs/auditor-guide.md, "Check a webhook's HMAC again", word for word: from an export, with nothing of ours."""

from __future__ import annotations

import hashlib
import hmac
import re
import subprocess
import sys

import pytest

from tests.evidence.desk import Evidence
from tests.support import ROOT, query, tamper

SECTION = (ROOT / "docs" / "auditor-guide.md").read_text(encoding="utf-8").split("## Check a webhook")[1]
PROGRAM, COMMAND, SHOWN = (
    re.findall(rf"^```{kind}\n(.*?)^```$", SECTION, re.DOTALL | re.M)[0] for kind in ("python", "sh", "text")
)
SECRET = b"a secret of the sender and the desk"

RECORD = "select record_webhook(%s, signature => %s, hmac_verified => %s, headers => %s)"
HEADERS = '{"n": 1e400, "note": "\\"raw_body\\":\\"\\\\\\\\x00\\""}'


def signed(body: bytes, secret: bytes = SECRET) -> str:
    return hmac.new(secret, body, hashlib.sha256).hexdigest()


def what_it_says(evidence: Evidence, expect: int = 0) -> str:
    """What the program of the page prints of an export of all deliveries."""
    file = evidence.path("webhook_deliveries.jsonl")
    evidence.desk.run("export", "--table", "webhook_deliveries", "-o", str(file), expect=expect)
    evidence.path("webhook.secret").write_bytes(SECRET + b"\n")
    evidence.path("hmac_again.py").write_text(PROGRAM, encoding="utf-8")
    arguments = [sys.executable, *COMMAND.split()[1:]]
    done = subprocess.run(arguments, cwd=file.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_right_wrong_and_cut(evidence: Evidence) -> None:
    emoji = "half an emoji \N{PILE OF POO}".encode()[:-2]
    for delivery in (
        [b'{"a": 1.50, "a": 2}', "sha256=" + signed(b'{"a": 1.50, "a": 2}'), True, HEADERS],
        [b"{}", signed(b"{} "), False, None],
        [emoji, signed(emoji).upper(), True, None],
        [b"", None, False, None],
        [b"x" * 1048577, signed(b"x" * 1048577), False, None],
    ):
        query(evidence.db, RECORD, delivery)
    assert what_it_says(evidence) == SHOWN


@pytest.mark.parametrize("signature", ["é", "sha256=", "sha1=" + "0" * 40, " "])
def test_what_is_no_such_signature_is_wrong(signature: str, evidence: Evidence) -> None:
    query(evidence.db, RECORD, [b"{}", signature, True, None])
    assert what_it_says(evidence) == "1 WRONG (recorded as verified)\n"


def test_a_body_that_the_owner_changed_is_wrong(evidence: Evidence) -> None:
    query(evidence.db, RECORD, [b"{}", signed(b"{}"), True, None])
    tamper(
        evidence.db,
        "update webhook_deliveries set raw_body = '[]', body_sha256 = encode(sha256('[]'), 'hex')",
    )
    assert what_it_says(evidence, expect=1) == "1 WRONG (recorded as verified)\n"
