"""The page of a proposal: what it shows and verifies, and the vote that is signed on it in a browser."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.cli.desk import Desk
from tests.fix_browser import OpenPage
from tests.support import Connection, fill, tamper, verdicts

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.any_server
pytest_plugins = ["tests.cli.fix_desk"]

CHANGE = ("risk", "update-param", "max_leverage_ratio", "3")


def written(desk: Desk, proposal_id: str, *options: str) -> Path:
    path = desk.folder / "proposal.html"
    desk.run("risk", "page", proposal_id, "--output", str(path), "--force", *options)
    return path


def sign(page: Page, name: str, decision: str, key: Path | str) -> str:
    """Sign a vote with the file of a key, or a key that is pasted; gives what the page says of it."""
    page.wait_for_selector("#sign:enabled")
    page.select_option("#agent", label=f"{name} (risk)")
    page.check(f"input[value={decision}]")
    if isinstance(key, Path):
        page.set_input_files("#key-file", str(key))
    else:
        page.fill("#key", key)
    page.evaluate("document.getElementById('told').hidden = true")
    page.click("#sign")
    page.wait_for_selector("#told", state="visible")
    assert (page.input_value("#key"), page.input_value("#key-file")) == ("", "")
    return str(page.text_content("#told"))


def key_of(desk: Desk, name: str) -> Ed25519PrivateKey:
    key = form.load_pem_private_key(desk.key(name).read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def as_openssh(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption()).decode()


def encrypted_openssh(key: Ed25519PrivateKey) -> str:
    """What says of itself that it is encrypted; really to encrypt it would need the module bcrypt."""
    head, *lines, end, _ = as_openssh(key).split("\n")
    content = base64.b64decode("".join(lines)).replace(b"none", b"aes2", 1)
    return f"{head}\n{base64.b64encode(content).decode()}\n{end}\n"


def test_two_votes_that_were_signed_on_the_page_apply_the_change(governed: Desk, open_page: OpenPage) -> None:
    proposal_id = governed.propose("ada", *CHANGE)
    page = open_page(written(governed, proposal_id))
    assert "Signed: ben says APPROVE" in sign(page, "ben", "APPROVE", governed.key("ben"))
    saved = governed.folder / "vote.json"
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(saved)
    assert saved.read_text() == page.input_value("#vote")
    assert page.text_content("#vote-text") == json.loads(saved.read_text())["signed_text"]
    assert "1 of 2 approvals" in governed.run("risk", "submit", str(saved)).out
    page = open_page(written(governed, proposal_id, "--agent", "cyd"))
    page.wait_for_selector("text=The signatures of the votes hold, too: 1.")
    sign(page, "cyd", "APPROVE", as_openssh(key_of(governed, "cyd")))
    saved.write_text(page.input_value("#vote"))
    assert governed.run("risk", "submit", str(saved), "--json").json["status"] == "APPLIED"


def pem(label: str) -> str:
    return f"-----BEGIN {label}-----\nMAA=\n-----END {label}-----"


def test_a_key_that_cannot_sign_is_refused_in_words(governed: Desk, open_page: OpenPage) -> None:
    page = open_page(written(governed, governed.propose("ada", *CHANGE)))
    ben = key_of(governed, "ben")
    secret = form.BestAvailableEncryption(b"secret")
    pkcs8 = (form.Encoding.PEM, form.PrivateFormat.PKCS8, secret)
    public = ben.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    refused: dict[Path | str, str] = {
        governed.key("cyd"): "This key is not the one of ben.",
        ben.private_bytes(*pkcs8).decode(): "This key is encrypted.",
        encrypted_openssh(ben): "This key is encrypted.",
        public.decode(): "This is the public key.",
        pem("PRIVATE KEY"): "This is not an Ed25519 key.",
        pem("OPENSSH PRIVATE KEY"): "This is not a whole OpenSSH key.",
        pem("RSA PRIVATE KEY"): "but: RSA PRIVATE KEY.",
        "correct horse": "This is not a private key in PEM form.",
        "  ": "Choose the file of your key, or paste the key.",
    }
    for key, said in refused.items():
        assert said in sign(page, "ben", "REJECT", key)
        assert not page.is_visible("#signed")


def test_a_proposal_that_has_expired_is_not_signed(governed: Desk, open_page: OpenPage) -> None:
    page = open_page(written(governed, governed.propose("ada", *CHANGE)))
    page.clock.set_fixed_time("2999-01-01T00:00:00Z")
    assert "has expired" in sign(page, "ben", "APPROVE", governed.key("ben"))


def test_a_threshold_with_many_digits_is_compared_exactly(governed: Desk, open_page: OpenPage) -> None:
    asset, price = 'X":5', "123456789012345678.1234567891"
    threshold = ("risk", "set-kill-threshold", asset, "--loss-pct", "0.1", "--price")
    governed.approve(governed.propose("ada", *threshold, price), "ben")
    path = written(governed, governed.propose("ada", *threshold, price.replace("91", "92")))
    page = open_page(path)
    page.wait_for_selector("#verification.good")
    page.evaluate("BALLOT.changes[1].old = BALLOT.changes[1].new")
    problem = "() => verifyBallot().catch((problem) => problem.message)"
    assert page.evaluate(problem) == f"{json.dumps(asset)} kill_price is shown otherwise than it was signed."


def test_the_page_fits_a_phone(governed: Desk, open_page: OpenPage) -> None:
    page = open_page(written(governed, governed.propose("ada", *CHANGE, reason="x" * 400)), width=390)
    sign(page, "ben", "APPROVE", governed.key("ben"))
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_what_a_proposer_writes_is_only_text(governed: Desk, open_page: OpenPage) -> None:
    reason = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)> & שלום"
    page = open_page(written(governed, governed.propose("ada", *CHANGE, reason=reason)))
    page.wait_for_selector("#verification.good")
    assert page.title().startswith("Proposal ")
    assert reason in str(page.text_content("main"))


#: Name of a member of the page's data, and what somebody makes of it who also writes a new seal.
CHANGES: dict[str, Callable[[Any], Any]] = {
    "signed_text": lambda text: text.replace('"3"', '"9"'),
    "digest": lambda _: "0" * 64,
    "signature": lambda signature: signature[:-2] + "00",
    "origin": lambda _: "00000000-0000-4000-8000-000000000000",
    "reason": lambda _: "harmless",
    "expires": lambda _: "2999-01-01T00:00:00.000000Z",
    "changes": lambda rows: [row | {"new": row["old"]} for row in rows],
    "state_text": lambda text: text.replace('"version":1', '"version":2'),
    "votes": lambda votes: [vote | {"decision": "REJECT"} for vote in votes],
}


@pytest.mark.long
def test_a_page_that_shows_what_nobody_signed_is_red(governed: Desk, open_page: OpenPage) -> None:
    proposal_id = governed.propose("ada", *CHANGE)
    governed.approve(proposal_id, "ben")
    path = written(governed, proposal_id)
    page = open_page(path)
    page.wait_for_selector("#verification.good")
    original = path.read_text()
    (block,) = re.findall(r'<script type="application/json" id="ballot">(.*)</script>', original)
    for name, change in CHANGES.items():
        data = json.loads(block)
        data[name] = change(data[name])
        forged = original.replace(block, json.dumps(data))
        path.write_text(forged)
        page.reload()
        page.wait_for_selector("text=Do not trust this page: it was changed after it was written")
        seal = page.evaluate("sha256Hex(bytesOfText(PAGE_AS_READ))")
        path.write_text(re.sub(r'(id="seal">")\w+', rf"\g<1>{seal}", forged))
        page.reload()
        page.wait_for_selector("#verification.bad")
        assert "it was changed after" not in str(page.text_content("#verification")), name
        assert page.is_disabled("#sign")


def test_a_release_shows_the_damaged_rows(governed: Desk, db: Connection, open_page: OpenPage) -> None:
    fill(db, 3)
    tamper(db, "update signals set symbol = 'EVIL' where id = 2")
    verdicts(db)
    proposal_id = governed.propose("ada", "lockdown", "release")
    page = open_page(written(governed, proposal_id))
    page.wait_for_selector("#verification.good")
    shown = str(page.text_content("main"))
    assert "signals 2: content_mismatch" in shown
    assert '"symbol":"EVIL"' in shown


def test_the_file_is_named_by_its_sha256(governed: Desk) -> None:
    proposal_id, file = governed.propose("ada", *CHANGE), governed.folder / "new.html"
    command = ("risk", "page", proposal_id, "--output", str(file), "--force")
    said = governed.run(*command).out
    assert f"SHA-256 {sha256(file.read_bytes()).hexdigest()}" in said
    found = governed.run(*command, "--json").json
    assert found["sha256"] == sha256(file.read_bytes()).hexdigest()


def test_only_who_may_still_vote_gets_a_page(governed: Desk) -> None:
    proposal_id = governed.propose("ada", *CHANGE)
    governed.approve(proposal_id, "ben")
    output = ("--output", str(governed.folder / "new.html"))
    for name in ("ada", "ben"):
        assert (
            "[RSK-004]" in governed.run("risk", "page", proposal_id, "--agent", name, *output, expect=1).err
        )
    governed.approve(proposal_id, "cyd")
    assert "[RSK-006]" in governed.run("risk", "page", proposal_id, *output, expect=1).err
    assert not (governed.folder / "new.html").exists()
