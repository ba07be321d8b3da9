"""alpha-db checkpoint stamp."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from alpha_db.evidence.stamps.stamp import verify_stamp
from tests.checkpoint.book import Book, public
from tests.cli.desk import Desk
from tests.stamps.authority import Authority, Handler, answers, serve


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def commands(
    signed_book: Book, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Desk:
    """Commands that ask no database, and trust the key of the checkpoints."""
    monkeypatch.setenv("ALPHA_DB_TRUST", str(public(signed_book.key)))
    return Desk(f"host={tmp_path}", tmp_path, capsys)


@pytest.fixture
def checkpoints(signed_book: Book, tmp_path: Path) -> Path:
    """A copy of two runs."""
    shutil.copytree(signed_book.checkpoints, tmp_path / "checkpoints")
    shutil.rmtree(tmp_path / "checkpoints" / "000000003")
    return tmp_path / "checkpoints"


def honest(authority: Authority) -> Handler:
    return lambda request, query: answers(authority.reply(query))(request, query)


def names(checkpoints: Path) -> set[str]:
    return {str(path.relative_to(checkpoints)) for path in checkpoints.glob("*/*.tsr")}


def test_the_latest_checkpoint_is_stamped(commands: Desk, checkpoints: Path, authority: Authority) -> None:
    with serve(honest(authority)) as served:
        options = ("checkpoint", "stamp", "--tsa", served.url, "--tsa-ca", str(authority.ca))
        done = commands.run(*options, str(checkpoints), "--json")
        assert names(checkpoints) == {"000000002/stamp-1.tsr"}
        assert (done.json["run"], done.json["is_trusted"]) == ("000000002", True)
        file = Path(done.json["file"])
        note = (file.parent / "checkpoint.note").read_bytes()
        assert verify_stamp(note, file.read_bytes(), authority.ca).isoformat() == done.json["time"]
        # a run that is named; a second time-stamp; a number that is taken
        commands.run(*options, str(checkpoints / "000000001"))
        for number in (7, 999_999_999):
            (checkpoints / "000000002" / f"stamp-{number}.tsr").write_bytes(b"mine")
        done = commands.run(*options, str(checkpoints))
        assert "000000002 existed at 20" in done.out
        assert done.err == ""
    assert names(checkpoints) == {
        "000000001/stamp-1.tsr",
        "000000002/stamp-1.tsr",
        "000000002/stamp-2.tsr",
        "000000002/stamp-7.tsr",
        "000000002/stamp-999999999.tsr",
    }
    assert (checkpoints / "000000002" / "stamp-7.tsr").read_bytes() == b"mine"


def test_only_what_a_trusted_key_signed_is_stamped(
    commands: Desk, checkpoints: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may have put a later directory there, or a file beside the runs."""
    (checkpoints / "checkpoint.note").write_text("junk\n")
    with serve(honest(authority)) as served:
        options = ("checkpoint", "stamp", "--tsa", served.url, "--tsa-ca", str(authority.ca))
        commands.run(*options, str(checkpoints))
        assert names(checkpoints) == {"000000002/stamp-1.tsr"}
        (checkpoints / "999999999").mkdir()
        (checkpoints / "999999999" / "checkpoint.note").write_text("junk\n")
        done = commands.run(*options, str(checkpoints))
        assert "999999999/checkpoint.note" in done.err
        assert names(checkpoints) == {"000000002/stamp-1.tsr", "000000002/stamp-2.tsr"}
        monkeypatch.delenv("ALPHA_DB_TRUST")
        assert "Missing option '--trust'" in commands.run(*options, str(checkpoints), expect=2).err


def test_without_a_certificate_it_says_what_was_not_checked(
    commands: Desk, checkpoints: Path, authority: Authority
) -> None:
    with serve(honest(authority)) as served:
        done = commands.run("checkpoint", "stamp", "--tsa", served.url, str(checkpoints))
    assert "Not checked: whose certificate it is. Name the authority's own with --tsa-ca." in done.err


def test_nothing_is_written_if_it_does_not_hold(
    commands: Desk, checkpoints: Path, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger", "another root")
    with serve(honest(stranger)) as served:
        options = ("checkpoint", "stamp", "--tsa", served.url, str(checkpoints), "--tsa-ca")
        done = commands.run(*options, str(authority.ca), expect=1)
        assert f"{served.url}: the time-stamp does not hold: certificate verify error" in done.err
        assert "no such file" in commands.run(*options, str(tmp_path / "no.pem"), expect=5).err
    with serve(answers(b"", 503)) as served:
        done = commands.run("checkpoint", "stamp", "--tsa", served.url, str(checkpoints), "--json", expect=3)
        assert "the HTTP status 503" in done.err
    assert names(checkpoints) == set()


def test_what_is_not_there(commands: Desk, checkpoints: Path, tmp_path: Path) -> None:
    options = ("checkpoint", "stamp", "--tsa", "https://tsa.example/tsr")
    assert "there is no such file" in commands.run(*options, str(tmp_path / "no"), expect=5).err
    (tmp_path / "empty").mkdir()
    assert "there is no checkpoint" in commands.run(*options, str(tmp_path / "empty"), expect=5).err
    (checkpoints / "000000002" / "checkpoint.note").write_bytes(b"x" * 2_000_000)
    assert "longer than" in commands.run(*options, str(checkpoints), expect=None).err


@pytest.mark.parametrize("wrong", [["--tsa", "tsa.example"], ["--timeout", "0"], ["--timeout", "nan"], []])
def test_usage(commands: Desk, checkpoints: Path, wrong: list[str]) -> None:
    given = ["--tsa", "http://127.0.0.1:1/"] if wrong and wrong[0] == "--timeout" else []
    commands.run("checkpoint", "stamp", *given, *wrong, str(checkpoints), expect=2)


def test_checkpoint_verify_checks_time_stamps(
    commands: Desk, checkpoints: Path, authority: Authority, signed_book: Book, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger", "another root")
    stamped = ("checkpoint", "stamp", "--tsa-ca", str(authority.ca), "--tsa")
    verify = ("checkpoint", "verify", "--trust", str(public(signed_book.key)), "--tsa-ca", str(authority.ca))
    with serve(honest(authority)) as served:
        for name in ("000000001", "000000001", "000000002"):
            commands.run(*stamped, served.url, str(checkpoints / name))
    done = commands.run(*verify, str(checkpoints))
    assert done.out.count("existed at 20") == 3
    assert "ok        000000001/stamp-2.tsr  existed at 20" in done.out
    assert commands.run(*verify, str(checkpoints / "000000001")).out.count("existed at 20") == 2
    assert commands.run(*verify[:-2], str(checkpoints), "--json").json["stamps"] == []
    assert commands.run(*verify, str(checkpoints), "--without", "000000001").out.count("existed at 20") == 1
    # of another note, of an authority that is not trusted, broken: one hides no other
    run = checkpoints / "000000001"
    (run / "stamp-2.tsr").write_bytes((checkpoints / "000000002" / "stamp-1.tsr").read_bytes())
    note = (run / "checkpoint.note").read_bytes()
    (run / "stamp-3.tsr").write_bytes(stranger.reply(stranger.query(note, "-sha256")))
    (run / "stamp-4.tsr").write_bytes(b"")
    (run / "stamp-5.tsr").mkdir()
    (run / "stamp-6.tsr").write_bytes(bytes(2_000_000))
    (run / "stamp-x.tsr").write_bytes(b"")
    found = {
        one["what"]: one for one in commands.run(*verify, str(checkpoints), "--json", expect=1).json["stamps"]
    }
    assert {name: one["verdict"] for name, one in found.items()} == {
        "000000001/stamp-1.tsr": "holds",
        "000000001/stamp-2.tsr": "refused",
        "000000001/stamp-3.tsr": "refused",
        "000000001/stamp-4.tsr": "not_run",
        "000000001/stamp-5.tsr": "not_run",
        "000000001/stamp-6.tsr": "not_run",
        "000000002/stamp-1.tsr": "holds",
    }
    assert "message imprint mismatch" in found["000000001/stamp-2.tsr"]["reason"]
    assert "certificate verify error" in found["000000001/stamp-3.tsr"]["reason"]
    assert (
        "no such file" in commands.run(*verify[:-1], str(tmp_path / "no.pem"), str(checkpoints), expect=5).err
    )
