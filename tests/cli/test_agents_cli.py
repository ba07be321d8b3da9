"""alpha-db agents: keys in files, the bootstrap, and agents who come and go by vote."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from alpha_db.cli.main import main
from tests.cli.desk import Desk
from tests.fix_database import Connect, LoginRole
from tests.support import Connection, one, query, result_of

# The command line and the files; the SQL behind them is tested on every server elsewhere.
pytestmark = pytest.mark.any_server

pytest_plugins = ["tests.cli.fix_desk"]


def public_key(file: Path, passphrase: bytes | None = None) -> str:
    key = load_pem_private_key(file.read_bytes(), passphrase)
    return key.public_key().public_bytes_raw().hex()  # type: ignore[union-attr]


def agent_in(file: Path) -> dict[str, str]:
    """The agent in a file that keygen --json filled."""
    found: dict[str, str] = result_of(file.read_text(encoding="utf-8"), 0)
    return found


def test_keygen_makes_a_private_file(desk: Desk) -> None:
    before = os.umask(0)
    try:
        made = agent_in(desk.keygen("ada"))
    finally:
        os.umask(before)
    file = desk.key("ada")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert set(made) == {"agent_id", "name", "role", "public_key"}
    assert made["public_key"] == public_key(file)
    again = desk.run("agents", "keygen", "--output", str(file), expect=3)
    assert "File exists" in again.err
    assert public_key(file) == made["public_key"]


def test_keygen_encrypts(desk: Desk) -> None:
    secret = desk.folder / "secret"
    secret.write_text("correct horse\n")
    result = desk.run("agents", "keygen", "--output", str(desk.key("eve")), "--passphrase-file", str(secret))
    assert "correct horse" not in result.out + result.err
    assert b"ENCRYPTED" in desk.key("eve").read_bytes()
    assert public_key(desk.key("eve"), b"correct horse") in result.out


def test_keygen_asks_for_a_passphrase_on_a_terminal_only(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\ncorrect horse\n"))
    result = desk.run("agents", "keygen", "--output", str(desk.key("eve")), "--encrypt", expect=2)
    assert "--passphrase-file" in result.err
    assert result.err.count("\n") == 1
    assert not desk.key("eve").exists()


@pytest.mark.parametrize(
    "given",
    [["--name", ""], ["--name", "x" * 51], ["--name", "ad\u200ba"], ["--name", "\udcff"], ["--role", " "]],
)
def test_keygen_makes_no_agent_that_could_not_be_enrolled(desk: Desk, given: list[str]) -> None:
    result = desk.run("agents", "keygen", "--output", str(desk.key("eve")), *given, expect=2)
    assert result.err.startswith("alpha-db: usage: ")
    assert not desk.key("eve").exists()


def test_keygen_needs_no_database(desk: Desk) -> None:
    desk.dsn = "host=/nowhere"
    desk.keygen("ada")


def test_bootstrap_once(desk: Desk, db: Connection) -> None:
    result = desk.bootstrap("ada", "ben", "cyd")
    keys = {agent_in(desk.folder / f"{name}.json")["public_key"] for name in desk.names}
    assert {row["public_key"] for row in query(db, "select public_key from vw_agents")} == keys
    assert all(key in result.out for key in keys)
    again = desk.run("agents", "bootstrap", str(desk.folder / "ada.json"), *desk.sign_all("ada"), expect=1)
    assert "[RSK-002]" in again.err


def test_each_agent_signs_the_bootstrap_on_a_machine_of_its_own(desk: Desk) -> None:
    files = [str(desk.keygen(name)) for name in ("ada", "ben", "cyd")]
    signed = []
    for name, order in (("ada", files), ("ben", files[::-1]), ("cyd", files[1:] + files[:1])):
        form = ["--json"] if name == "ben" else []  # bootstrap takes both
        made = desk.run("agents", "sign-bootstrap", "--key", str(desk.key(name)), "--yes", *form, *order)
        assert "alpha-db/bootstrap/v1" in made.err
        assert (made.json if form else json.loads(made.out))["name"] == name
        (desk.folder / f"{name}.signed.json").write_text(made.out)
        signed.append(str(desk.folder / f"{name}.signed.json"))
    assert len(desk.run("agents", "bootstrap", *signed, "--json").json["agents"]) == 3


def test_a_bootstrap_that_one_agent_did_not_sign_is_refused(desk: Desk) -> None:
    files = [str(desk.keygen(name)) for name in ("ada", "ben", "cyd")]
    found = desk.run("agents", "bootstrap", *files, *desk.sign_all("ada", "ben"), expect=1)
    assert "[RSK-003]" in found.err
    assert "cyd did not sign" in found.err


def test_a_signature_of_another_list_is_refused(desk: Desk) -> None:
    files = [str(desk.keygen(name)) for name in ("ada", "ben", "cyd", "dan")]
    made = desk.run("agents", "sign-bootstrap", "--key", str(desk.key("cyd")), "--yes", *files[:3])
    (desk.folder / "cyd.json").write_text(made.out)
    found = desk.run("agents", "bootstrap", *files, *desk.sign_all("ada", "ben", "dan"), expect=1)
    assert "[RSK-003]" in found.err
    assert "not for this bootstrap" in found.err


def test_a_key_that_is_nobody_s_signs_no_bootstrap(desk: Desk) -> None:
    files = [str(desk.keygen(name)) for name in ("ada", "ben", "cyd", "eve")]
    found = desk.run("agents", "sign-bootstrap", "--key", str(desk.key("eve")), "--yes", *files[:3], expect=1)
    assert "[RSK-003]" in found.err


def test_bootstrap_takes_an_array(desk: Desk) -> None:
    agents = [agent_in(desk.keygen(name)) for name in ("ada", "ben", "cyd")]
    file = desk.folder / "all.json"
    file.write_text(json.dumps(agents))
    signed = desk.run("agents", "bootstrap", str(file), "--json", *desk.sign_all("ada", "ben", "cyd"))
    assert len(signed.json["agents"]) == 3


def test_bootstrap_refuses_two_and_weak_keys(desk: Desk) -> None:
    files = [str(desk.keygen(name)) for name in ("ada", "ben")]
    two = desk.run("agents", "bootstrap", *files, *desk.sign_all("ada", "ben"), expect=1)
    assert "at least three" in two.err
    weak = agent_in(Path(files[0])) | {"public_key": "00" * 32}
    (desk.folder / "weak.json").write_text(json.dumps(weak))
    found = desk.run("agents", "bootstrap", *files, str(desk.folder / "weak.json"), expect=1)
    assert "[RSK-003]" in found.err
    assert "weak" in found.err


def test_bootstrap_is_the_owners(desk: Desk, login_role: LoginRole) -> None:
    files = [str(desk.keygen(name)) for name in ("ada", "ben", "cyd")]
    desk.dsn += f" user={login_role('app_risk')}"
    signed = desk.run("agents", "bootstrap", *files, *desk.sign_all("ada", "ben", "cyd"), expect=3)
    assert "permission denied" in signed.err


@pytest.mark.parametrize("text", ["nonsense", "{}", '{"agent_id": "x"}', "[1]"])
def test_files_that_hold_no_agent_are_usage(desk: Desk, text: str) -> None:
    file = desk.folder / "bad.json"
    file.write_text(text)
    desk.run("agents", "bootstrap", str(file), expect=2)
    desk.run("agents", "bootstrap", str(desk.folder / "none.json"), expect=2)


def test_enrol_rotate_and_revoke(trio: Desk, db: Connection) -> None:
    enrolled = trio.propose("ada", "agents", "enrol", str(trio.keygen("dan")))
    assert trio.approve(enrolled, "ben", "cyd") == ["PENDING", "APPLIED"]
    rotated = trio.propose("ada", "agents", "rotate", "cyd", str(trio.keygen("cyd2")), reason="stolen")
    assert trio.approve(rotated, "ben", "dan") == ["PENDING", "APPLIED"]
    revoked = trio.propose("ben", "agents", "revoke", "dan")
    assert trio.approve(revoked, "cyd2", "ada") == ["PENDING", "APPLIED"]
    listed = {
        agent["name"]: agent["revoked_at"] for agent in trio.run("agents", "list", "--all", "--json").json
    }
    assert {name for name, at in listed.items() if at is None} == {"ada", "ben", "cyd2"}
    assert "dan" not in trio.run("agents", "list").out
    assert "dan" in trio.run("agents", "list", "--all").out
    gone = trio.run(
        "risk", "update-param", "max_leverage_ratio", "1", "--reason", "x", *trio.sign("dan"), expect=None
    )
    assert gone.code in (1, 2)
    assert one(db, "select count(*) from agent_revocations") == 2
    story = trio.run("risk", "history").out
    assert "cyd2 enrolled in the place of cyd" in story
    assert "dan revoked" in story


def test_rotated_key_signs_no_more(trio: Desk) -> None:
    rotated = trio.propose("ada", "agents", "rotate", "cyd", str(trio.keygen("cyd2")))
    assert trio.approve(rotated, "ben") == ["APPLIED"]
    refused = trio.run("agents", "revoke", "ben", "--reason", "x", *trio.sign("cyd"), expect=1)
    assert "[RSK-003]" in refused.err
    assert "revoked" in refused.err


def test_without_agents_there_is_nothing_to_pin(desk: Desk) -> None:
    assert not desk.run("agents", "list", "--pins", expect=5).out
    answer = json.loads(desk.run("agents", "list", "--pins", "--json", expect=5).out)
    assert (answer["result"], answer["error"]["hint"]) == (None, "alpha-db agents bootstrap")


def test_a_no_is_in_the_answer(trio: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    sign = [word for word in trio.sign("ada") if word != "--yes"]
    refused = trio.run("agents", "revoke", "ben", "--reason", "x", *sign, "--json", expect=3)
    assert json.loads(refused.out)["error"]["message"] == "nothing was sent, because the answer was no"


def test_pins_are_what_the_hydrator_reads(trio: Desk) -> None:
    from alpha_db.risk.pins import load_pins

    file = trio.folder / "keys.json"
    file.write_text(trio.run("agents", "list", "--pins").out)
    pins = load_pins(file)
    assert len(pins.keys) == 3
    trio.run("risk", "verify", "--trust", str(file))
    said = json.loads(file.read_text())
    first = next(name for name in said if name != "origin")
    said[first] = agent_in(trio.keygen("eve"))["public_key"]
    file.write_text(json.dumps(said))
    assert "pinned" in trio.run("risk", "verify", "--trust", str(file), expect=1).out


def test_list_is_readable_for_every_role(trio: Desk, login_role: LoginRole, connect: Connect) -> None:
    assert connect
    for role in ("app_risk", "app_auditor", "app_trading"):
        again = Desk(f"{trio.dsn} user={login_role(role)}", trio.folder, trio.capsys)
        assert "ada" in again.run("agents", "list").out


def test_show_prints_again_what_keygen_printed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = desk.keygen("ben").read_text()
    monkeypatch.setenv("PGHOST", "/nowhere")  # it asks no database
    capsys.readouterr()
    assert main(["agents", "show", "--key", str(desk.key("ben")), "--json"]) == 0
    assert capsys.readouterr().out == made
    assert main(["agents", "show", "--key", str(desk.key("ben"))]) == 0
    assert "fingerprint  SHA256:" in capsys.readouterr().out


def test_show_asks_for_the_passphrase(desk: Desk, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("open sesame\n")
    made = desk.keygen("eve", "--passphrase-file", str(secret)).read_text()
    show = ("agents", "show", "--key", str(desk.key("eve")), "--json")
    assert desk.run(*show, "--passphrase-file", str(secret)).out == made
    assert "--passphrase-file" in desk.run(*show, expect=3).err


def test_the_answer_of_a_failed_keygen_is_no_agent(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "ben.json"
    file.write_text(desk.run("agents", "keygen", "--output", "/nowhere/ben.key", "--json", expect=3).out)
    said = desk.run("agents", "bootstrap", str(file), expect=2)
    assert "the answer of a command that failed" in said.err
