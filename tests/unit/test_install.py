"""The package as pip installs it from a checkout: the command, the migrations, the man page."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import MIGRATIONS, ROOT

pytestmark = pytest.mark.any_server


def copied() -> list[tuple[str, str]]:
    """What the Dockerfile copies, and where to."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line.split()[1:] for line in text.splitlines() if line.startswith("COPY ")]
    return [(name, target) for *names, target in lines for name in names]


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `pip install .` put what the Dockerfile copies. No network: the dependencies are here already."""
    pytest.importorskip("setuptools.command.bdist_wheel", reason="setuptools 70.1 is needed to build a wheel")
    place = tmp_path_factory.mktemp("install")
    source = place / "checkout"
    for name, target in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            source.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, source / target)
    options = [
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--no-compile",
        "--ignore-installed",  # or pip takes away what the tests themselves run by
        "--prefix",
        place / "prefix",
    ]
    command = [sys.executable, "-I", "-m", "pip", "install", "-q", *map(str, options), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "prefix"


def run(prefix: Path, *arguments: str) -> str:
    site = next(prefix.glob("lib/python*/site-packages"))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(site)}
    command = [str(prefix / "bin" / "alpha-db"), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, cwd="/", env=environment
    ).stdout


def test_the_command_runs(prefix: Path) -> None:
    assert run(prefix, "--version").startswith("alpha-db ")
    assert "verify-chain" in run(prefix, "--help")


def test_migrations_come_with_it(prefix: Path) -> None:
    (package,) = prefix.glob("lib/python*/site-packages/alpha_db")
    assert {file.name for file in MIGRATIONS} <= {file.name for file in package.glob("migrations/*.sql")}
    assert list(package.glob("superuser/*.sql"))
    assert {"queries.sql", "objects.csv", "sqlstates.toml"} <= {file.name for file in package.iterdir()}


def test_the_man_page_comes_with_it(prefix: Path) -> None:
    page = prefix / "share" / "man" / "man1" / "alpha-db.1"
    assert page.read_bytes() == (ROOT / "docs" / "man" / "alpha-db.1").read_bytes()


def test_what_the_tests_run_by_stays(prefix: Path) -> None:
    assert prefix
    assert importlib.metadata.version("alpha-db")


@pytest.mark.skipif(not (ROOT / ".dockerignore").exists(), reason="there is no .dockerignore here")
def test_docker_is_given_what_it_copies() -> None:
    given = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert given == {name for name, _ in copied()}
