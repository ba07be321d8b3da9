"""alpha-db witness: keys, the state file, serving, and what is refused before anything is served."""

from __future__ import annotations

import json
import signal
import socket
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from alpha_db.cli.main import main
from alpha_db.evidence.offline_check import parse_policy
from alpha_db.evidence.witness.state import create
from tests.cli.desk import Result
from tests.witness.by_hand import LOG, OTHER
from tests.witness.running import Running, command, own_key, until

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run alpha-db witness in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, expect: int = 0) -> Result:
        capsys.readouterr()
        code = main(["witness", *arguments])
        out, err = capsys.readouterr()
        assert code == expect, (code, out, err)
        assert "Traceback" not in err
        assert expect == 0 or err.count("\n") == 1, "one line"
        return Result(code, out, err)

    return run


def test_a_key_for_a_witness(run: Run) -> None:
    made = run("keygen", "--name", "auditor.example/witness", "--output", "witness.key", "--json").json
    assert stat.S_IMODE(Path("witness.key").stat().st_mode) == 0o600
    policy = parse_policy(f"witness w {made['vkey']}\nquorum w\n")
    (witness,) = policy.witnesses
    assert witness.key
    assert (witness.key.name, witness.key.key_id.hex()) == ("auditor.example/witness", made["key_id"])
    shown = run("show", "--key", "witness.key").out
    assert shown == Path("witness.key.vkey").read_text(encoding="utf-8") == f"{made['vkey']}\n"
    run("keygen", "--name", "auditor.example/witness", "--output", "witness.key", expect=3)


@pytest.mark.parametrize("name", ["", "two words", "a+b", "a\x1bb"])
def test_a_name_that_no_signature_can_carry_is_usage(run: Run, name: str) -> None:
    run("keygen", "--name", name, "--output", "witness.key", expect=2)
    assert list(Path().iterdir()) == []


def test_keys_of_logs_and_of_witnesses_are_told_apart(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """One key for both would sign whatever is sent to the witness as if it were a checkpoint."""
    run("keygen", "--name", "w", "--output", "w.key")
    assert main(["checkpoint", "keygen", "--name", "l", "--output", "l.key"]) == 0
    assert "not a private key for a witness" in run("show", "--key", "l.key", expect=3).err
    capsys.readouterr()
    assert main(["checkpoint", "show", "--key", "w.key"]) == 3
    assert "not a private key for checkpoints" in capsys.readouterr().err
    create(Path("state.json"))
    serve = ("serve", "--state", "state.json", "--listen", "127.0.0.1:0", "--key", "w.key")
    run(*serve, "--trust", "w.key.vkey", expect=3)
    run(*serve[:-1], "l.key", "--trust", "l.key.vkey", expect=3)


def test_a_state_is_begun_once(run: Run) -> None:
    assert run("init", "--state", "state.json", "--json").json == {"state": "state.json"}
    content = Path("state.json").read_bytes()
    assert "File exists" in run("init", "--state", "state.json", expect=3).err
    assert Path("state.json").read_bytes() == content
    run("init", "--state", "missing/state.json", expect=3)


def serving(folder: Path, *options: str) -> list[str]:
    key = folder / "witness.key"
    own_key().save(key)
    arguments = ["serve", "--state", str(folder / "state.json"), "--key", str(key)]
    return arguments + list(options or ("--listen", "127.0.0.1:0", "--trust", LOG.key.vkey))


def test_without_a_state_nothing_is_served(run: Run, tmp_path: Path) -> None:
    refused = run(*serving(tmp_path), expect=5)
    assert "there is no state file" in refused.err
    assert "alpha-db witness init" in refused.err
    assert not (tmp_path / "state.json").exists()


def test_without_a_log_nothing_is_served(run: Run, tmp_path: Path) -> None:
    create(tmp_path / "state.json")
    run(*serving(tmp_path, "--listen", "127.0.0.1:0"), expect=2)
    policy = tmp_path / "policy"
    policy.write_text("quorum none\n")
    (tmp_path / "witness.key").unlink()
    run(*serving(tmp_path, "--listen", "127.0.0.1:0", "--policy", str(policy)), expect=2)


@pytest.mark.parametrize(
    "listen", ["", "80", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:80", "a b:1", "x/y:1"]
)
def test_an_address_that_is_none_is_usage(run: Run, tmp_path: Path, listen: str) -> None:
    create(tmp_path / "state.json")
    run(*serving(tmp_path, "--listen", listen, "--trust", LOG.key.vkey), expect=2)


def test_an_address_that_is_taken(run: Run, tmp_path: Path) -> None:
    create(tmp_path / "state.json")
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        assert (
            "Address already in use"
            in run(*serving(tmp_path, "--listen", listen, "--trust", LOG.key.vkey), expect=3).err
        )


POLICIES = {
    "missing": (None, 5, "there is no such file"),
    "empty": (b"", 3, "empty, or cut short"),
    "a cycle": (b"group a any b\ngroup b any a\nquorum a\n", 3, "line 1 of the policy: b is not above"),
    "an escape": (b"\x1b[2J\n", 3, "control characters"),
    "not UTF-8": (b"# \xff\nquorum none\n", 3, "not UTF-8"),
    "no policy": (b"\xe2\x80\xae\n", 3, "\\u202e"),
    "two of one key": (
        f"witness a {OTHER.vkey}\nwitness b {OTHER.vkey}\nquorum a\n".encode(),
        3,
        "is there twice",
    ),
}


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_that_is_none_is_refused(run: Run, tmp_path: Path, name: str) -> None:
    content, code, said = POLICIES[name]
    create(tmp_path / "state.json")
    policy = tmp_path / "policy"
    if content is not None:
        policy.write_bytes(content)
    refused = run(*serving(tmp_path, "--listen", "127.0.0.1:0", "--policy", str(policy)), expect=code)
    assert said in refused.err


def test_a_second_process_is_refused(run: Run, tmp_path: Path) -> None:
    with command(tmp_path) as witness:
        (tmp_path / "witness.key").unlink()
        assert "another witness is running" in run(*serving(tmp_path), expect=3).err
        assert witness.post(LOG.request(0, 5)).status == 200


def end(witness: Running, number: int) -> tuple[str, str]:
    process = witness.process
    assert process
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    return out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_asked_to(tmp_path: Path, number: int) -> None:
    with command(tmp_path) as witness:
        witness.post(LOG.request(0, 5))
        end(witness, number)
    with command(tmp_path) as witness:
        assert witness.post(LOG.request(0, 6)).body == "5\n", "it remembers"


def test_at_the_end_it_counts_its_answers(tmp_path: Path) -> None:
    with command(tmp_path, "--json") as witness:
        for old, size in ((0, 5), (5, 6), (5, 7)):
            witness.post(LOG.request(old, size))
        out, err = end(witness, signal.SIGTERM)
    document = json.loads(out)
    assert document["ok"] is True
    assert document["result"]["answers"] == {"200": 2, "409": 1}
    assert err.count(f"{LOG.name}: cosigned at size") == 2


def test_a_log_is_known_by_the_policy_too(tmp_path: Path) -> None:
    policy = tmp_path / "policy"
    policy.write_text(f"log {LOG.key.vkey}\nquorum none\n")
    with command(tmp_path, "--policy", str(policy)) as witness:
        until(lambda: witness.post(LOG.request(0, 5)).status == 200, "it answers")
