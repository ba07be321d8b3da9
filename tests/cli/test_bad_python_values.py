"""What the public Python functions are given wrong, they say in words: one family of errors, and no repr."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import alpha_db
from alpha_db.errors import AlphaDbError
from alpha_db.evidence.checkpoint.keys import SigningKey, trusted_keys
from alpha_db.migrate import migrate
from alpha_db.risk.high_water import HighWater
from alpha_db.risk.pins import load_pins
from alpha_db.security.audit_signer import AuditSigner
from alpha_db.security.reading import read_json
from tests.cli.bad_values import complaints

pytestmark = pytest.mark.any_server

CONTENTS = {
    "empty": b"",
    "bom": b"\xef\xbb\xbf{}\r\n",
    "text": b"hello\r\n",
    "binary": bytes(range(256)),
    "list": b"[1, null]",
    "utf16": "{}".encode("utf-16"),
    "nested": b"[" * 100_000,
    "long": b'{"n": ' + b"9" * 5000 + b"}",
}
READERS: dict[str, Callable[[Any], Any]] = {
    "AuditSigner.load": AuditSigner.load,
    "SigningKey.load": SigningKey.load,
    "load_pins": load_pins,
    "HighWater": lambda path: HighWater(path)._load(),
    "trusted_keys": lambda path: trusted_keys([str(path)]),
    "migrate": lambda path: migrate("host=/nowhere", directory=Path(path)),
    "AuditSigner.save": lambda path: AuditSigner.generate().save(path),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("python")
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    os.mkfifo(folder / "pipe", 0o600)
    (folder / "loop").symlink_to("loop")
    names = [*CONTENTS, "missing/below", "text/below", "pipe", "loop", "x" * 300, "nul\0", "caf\udce9/below"]
    return [folder, *(folder / name for name in names)]


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_is_none(places: list[Path], name: str) -> None:
    wrong = []
    for place in places:
        try:
            READERS[name](place)
        except AlphaDbError as problem:
            said = f"{problem.message} {problem.detail or ''} {problem.hint or ''}"
            wrong += [f"{place.name!r:.40}: {found}: {said}" for found in complaints(3, "", f"x {said}")]
        except Exception as problem:
            wrong.append(f"{place.name!r:.40}: {type(problem).__name__}: {problem!s:.200}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "arguments",
    [
        {"dsn": 5}, {"dsn": b"host=x"}, {"dsn": "nonsense"}, {"dsn": "host='"}, {"dsn": "postgresql://["},
        {"dsn": "host=/nowhere"}, {"dsn": "\0"}, {"dsn": "\udcff"}, {"dsn": "host=/nowhere", "schema": 1},
        {"dsn": "port=99999 host=127.0.0.1"}, {"dsn": "host=/nowhere", "connect_timeout": "soon"},
        {"dsn": "host=/nowhere", "no_such": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_connection_that_cannot_be(arguments: dict[str, Any]) -> None:
    with pytest.raises(AlphaDbError) as caught:
        alpha_db.connect(**arguments)
    assert caught.value.code
    assert not list(complaints(3, "", f"x {caught.value.message} {caught.value.hint or ''}"))


def test_files_are_read_in_no_locales_encoding(tmp_path: Path) -> None:
    """Python warns of each file that it would open in the encoding of the locale; here the warning is an error."""
    (tmp_path / "limits.json").write_text('{"limits": {"é": "1"}}', encoding="utf-8")
    (tmp_path / "é.json").write_text("[]", encoding="utf-8")
    commands = [
        ["agents", "keygen", "--output", "é.key", "--name", "é", "--json"],
        ["agents", "bootstrap", "é.json"],
        ["checkpoint", "keygen", "--name", "é.example", "--output", "note.key"],
        ["checkpoint", "list", "."],
        ["risk", "verify", "--trust", "limits.json"],
        ["status"],
        ["--help"],
    ]
    script = "import sys; from alpha_db.cli.main import main\n" + "\n".join(
        f"assert main({words!a}) in (0, 1, 2, 3, 5)" for words in commands
    )
    poor = {"LC_ALL": "C", "ALPHA_DB_DSN": "host=/nowhere"}
    path = {"PYTHONPATH": str(Path(alpha_db.__file__).parents[1]), "PATH": os.environ["PATH"]}
    options = ["-X", "warn_default_encoding", "-W", "error::EncodingWarning:alpha_db"]
    run = subprocess.run(
        [sys.executable, *options, "-c", script],
        cwd=tmp_path,
        env=poor | path,
        capture_output=True,
        check=False,
    )
    said = run.stderr.decode("utf-8", "replace")
    assert run.returncode == 0, said
    assert "Error" not in said, said


def test_a_pipe_that_somebody_writes_to_is_read(tmp_path: Path) -> None:
    """As a shell's <(command) is one."""
    os.mkfifo(tmp_path / "pipe")
    keeper = os.open(tmp_path / "pipe", os.O_RDWR)
    os.write(keeper, b'\xef\xbb\xbf{"a": 0.1}\r\n')
    held = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)  # so that what was written stays
    os.close(keeper)
    assert str(read_json(tmp_path / "pipe")["a"]) == "0.1"
    os.close(held)
