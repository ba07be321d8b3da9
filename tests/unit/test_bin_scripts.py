"""The scripts in bin/: finding a Python and saying what is missing. Nothing here needs a network."""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.cli.test_tree import COMMANDS
from tests.support import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("quickstart", "test", "bench", "lint")
# what the scripts call before they have a Python
TOOLS = ("sh", "dirname", "readlink", "pwd", "env")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A directory for PATH with nothing in it but the tools that the scripts call."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        if found := shutil.which(tool):
            (folder / tool).symlink_to(found)
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the scripts only, in a path with a space and a percent sign."""
    copy = tmp_path / "a b%20c"
    shutil.copytree(ROOT / "bin", copy / "bin", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", copy)
    return copy


@pytest.fixture(scope="module")
def ensure_venv() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("ensure_venv", ROOT / "bin" / "lib" / "ensure_venv.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["ensure_venv"] = module  # dataclasses looks its module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["ensure_venv"]


def put(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def run(script: Path, path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(script), *arguments],
        env={"PATH": str(path), "HOME": str(path.parent), "LC_ALL": "C", **environment},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def first_line(said: subprocess.CompletedProcess[str]) -> str:
    return said.stdout.splitlines()[0]


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_python_is_said_in_a_line(checkout: Path, path: Path, name: str) -> None:
    said = run(checkout / "bin" / name, path)
    assert (said.returncode, said.stdout) == (3, "")
    assert said.stderr == (
        f"{name}: Python 3.11 to 3.14 is needed and not found "
        "(Debian, Ubuntu: apt-get install python3 python3-venv)\n"
    )


def test_pythons_that_exist_and_fail_are_passed_over(checkout: Path, path: Path) -> None:
    put(path, "python3.14", 'echo "pyenv: python3.14: command not found" >&2; exit 127')
    put(path, "python3", "exit 1  # Python 3.9, say")
    (path / "python3.13").mkdir()
    assert "is needed and not found" in run(checkout / "bin" / "test", path).stderr
    put(path, "python", answer("/some/python"))
    said = run(checkout / "bin" / "quickstart", path, "--alerts", "5")
    assert (said.returncode, first_line(said), said.stderr) == (0, "-m alpha_db demo --alerts 5", "")


def test_a_python_without_venv_is_passed_over_or_named(checkout: Path, path: Path) -> None:
    # exit 10 is how ensure_venv.py says that this Python cannot make one
    put(path, "python3.13", "case $1 in -I) exit 10 ;; esac; case $2 in *print*) echo 3.13 ;; esac")
    said = run(checkout / "bin" / "quickstart", path)
    assert said.returncode == 3
    assert said.stderr.endswith(
        "cannot make virtual environments (Debian, Ubuntu: apt-get install python3.13-venv)\n"
    )
    assert len(said.stderr.splitlines()) == 1
    put(path, "python3.11", answer("/some/python"))
    assert first_line(run(checkout / "bin" / "quickstart", path)) == "-m alpha_db demo"


def test_a_failure_of_the_installation_ends_the_script(checkout: Path, path: Path) -> None:
    put(path, "python3.12", 'case $1 in -I) echo "test: no network" >&2; exit 3 ;; esac')
    put(path, "python3.11", answer("/some/python"))
    said = run(checkout / "bin" / "test", path)
    assert (said.returncode, said.stdout, said.stderr) == (3, "", "test: no network\n")


def test_python_can_be_named(checkout: Path, path: Path, tmp_path: Path) -> None:
    put(path, "python3.14", "exit 1")
    put(tmp_path, "my python", answer("/some/python"))
    said = run(checkout / "bin" / "quickstart", path, PYTHON=str(tmp_path / "my python"))
    assert first_line(said) == "-m alpha_db demo"


@pytest.mark.parametrize("shell", ["sh", "dash", "bash", "busybox"])
def test_through_a_link_and_in_every_shell(checkout: Path, path: Path, tmp_path: Path, shell: str) -> None:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"there is no {shell}")
    put(path, "python3", answer("/some/python"))
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "one").symlink_to(
        Path("../..", checkout.parent.name, checkout.name, "bin/quickstart")
    )
    (tmp_path / "two").symlink_to(tmp_path / "links" / "one")
    command = [found, *(["sh"] if shell == "busybox" else []), str(tmp_path / "two")]
    said = subprocess.run(
        command, env={"PATH": str(path)}, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (first_line(said), said.stderr) == ("-m alpha_db demo", "")
    assert said.stdout.endswith("--help\n")


def test_the_quickstart_says_what_next(checkout: Path, path: Path) -> None:
    """Each command that it prints is one, each page is there, and it fits a terminal."""
    put(path, "python3", f"case $1 in -I) echo {checkout}/.venv/bin/python ;; -c) exit 0 ;; esac")
    (checkout / ".venv" / "bin").mkdir(parents=True)
    put(checkout / ".venv" / "bin", "python", "exit 0")
    command = [checkout / "bin" / "quickstart"]
    said = subprocess.run(
        command, env={"PATH": str(path)}, capture_output=True, text=True, check=True, cwd=checkout
    ).stdout
    assert [line for line in said.splitlines() if len(line) > 80] == []
    for page in re.findall(r"[\w/-]+\.md", said):
        assert (ROOT / page).is_file(), page
    commands = set(re.findall(r"\.venv/bin/alpha-db ([a-z]+(?: [a-z]+)?)", said))
    assert commands == {"server start", "server url", "status", "server psql", "server stop"}
    assert commands <= {name.removeprefix("alpha-db ") for name in COMMANDS}


def test_the_quickstart_quotes_a_path_with_a_blank(checkout: Path, path: Path, tmp_path: Path) -> None:
    program = tmp_path / "my desk 100%" / "bin" / "python"
    program.parent.mkdir(parents=True)
    put(program.parent, "python", "exit 0")
    put(path, "python3", f"case $1 in -I) echo '{program}' ;; -c) exit 0 ;; esac")
    said = subprocess.run(
        [checkout / "bin" / "quickstart"],
        env={"PATH": f"{path}:/usr/bin:/bin", "PYTHON": str(path / "python3")},
        capture_output=True,
        text=True,
        check=True,
        cwd=checkout,
    ).stdout
    assert f"'{program.with_name('alpha-db')}' status\n" in said


@pytest.mark.parametrize("options", [["--json"], ["--signals", "3", "--json"], ["-h"]], ids=" ".join)
def test_the_quickstart_adds_nothing_to_an_answer(checkout: Path, path: Path, options: list[str]) -> None:
    put(path, "python3", answer("/some/python"))
    said = run(checkout / "bin" / "quickstart", path, *options)
    assert said.stdout == f"-m alpha_db demo {' '.join(options)}\n"


def test_the_quickstart_ends_as_the_demo_does(checkout: Path, path: Path) -> None:
    put(path, "python3", 'case $1 in -I) echo "$0" ;; -c) exit 0 ;; -m) exit 4 ;; esac')
    said = run(checkout / "bin" / "quickstart", path)
    assert (said.returncode, said.stdout) == (4, "")


def test_a_long_installation_shows_that_it_goes_on(
    ensure_venv: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ensure_venv, "TICK", 0.001)
    monkeypatch.setattr(ensure_venv, "DOTS", 3)
    environment = ensure_venv.Environment(tmp_path / "venv")
    mark = tmp_path / "done"
    with environment.locked(print), ensure_venv.Say("test").dots() as dot:
        count = 0

        def tick() -> None:
            nonlocal count
            dot()
            count += 1
            if count == 4:
                mark.touch()

        waiting = f"until [ -e '{mark}' ]; do :; done; echo so; exit 3"
        done = environment.run("sh", "-c", waiting, tick=tick)
    assert (done.returncode, done.stdout) == (3, "so\n")
    assert capsys.readouterr().err.startswith("test: ...\ntest: .")


def test_arguments_of_the_tests(checkout: Path, path: Path, tmp_path: Path) -> None:
    put(path, "python3", answer("/some/python"))
    script = checkout / "bin" / "test"
    parallel = "-n 3 --dist loadfile --no-loadscope-reorder"
    assert run(script, path).stdout == f"-m pytest {parallel}\n"
    assert "about 15 minutes" in run(script, path, "--pg", "15").stderr
    assert run(script, path, "-k", "a").stderr == run(script, path, "tests/unit").stderr == ""
    assert run(script, path, "--all", "-k", "a b").stdout == f"-m pytest {parallel} --all -k a b\n"
    assert run(script, path, "--pdb").stdout == "-m pytest --pdb\n"
    assert run(script, path, "--pg", "15", "x").stdout == f"-m pytest {parallel} --pg=15 x\n"
    place = str(tmp_path).lstrip("/")  # the script runs in /
    assert run(script, path, "--pg", place).stdout == f"-m pytest {parallel} --pg=//{place}\n"
    assert run(script, path, "--pg", f"/{place}").stdout == f"-m pytest {parallel} --pg=/{place}\n"
    assert run(script, path, f"--pg={place}").stdout == f"-m pytest {parallel} --pg=//{place}\n"


def answer(python: str) -> str:
    """A Python that finds its environment made, and prints what it is to run."""
    return f'case $1 in -I) echo "$0"; : {python} ;; -c) exit 0 ;; -m) echo "$@" ;; *) exit 1 ;; esac'


def test_reading_the_requirements(ensure_venv: ModuleType) -> None:
    small, large = (ensure_venv.read_setup(ROOT, ensure_venv.SETS[name]) for name in ("quickstart", "test"))
    assert set(small.lines()) < set(large.lines())
    assert not any("pixeltable" in line for line in small.lines(leave_out="embedded"))
    moved = ensure_venv.Wanted(Path("/elsewhere"), small.version, small.extras, small.requirements)
    keys = {w.key(w.extras) for w in (small, large, moved)}
    assert len(keys) == 3
    assert small.key(("embedded",)) == large.key(("embedded",))


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("WARNING: Retrying: Failed to establish a new connection\nERROR: No matching", "no network"),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "No space",
        ),
        ("ERROR: Could not find a version\nERROR: No matching distribution", "Could not find a version"),
        ("", "it said nothing"),
    ],
)
def test_pips_last_words_are_told_in_a_line(ensure_venv: ModuleType, output: str, told: str) -> None:
    said = ensure_venv.what_went_wrong(output)
    assert told in said
    assert "\n" not in said


def test_which_places_may_be_made_anew(ensure_venv: ModuleType, tmp_path: Path) -> None:
    def free(place: Path) -> bool:
        environment = ensure_venv.Environment(place)
        with environment.locked(print):
            return bool(ensure_venv.is_free(environment))

    assert free(tmp_path / "missing")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert free(empty)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "pyvenv.cfg").touch()
    assert free(broken)
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").touch()
    assert not free(other)
    works = tmp_path / "works"
    (works / "bin").mkdir(parents=True)
    (works / "bin" / "python").symlink_to(sys.executable)
    assert not free(works)
    (tmp_path / "works.lock").write_text(ensure_venv.MAKING)  # a run was killed in the midst of it
    assert free(works)


def test_two_scripts_wait_for_each_other(ensure_venv: ModuleType, tmp_path: Path) -> None:
    place = tmp_path / "venv"
    program = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import ensure_venv\n"
        "environment = ensure_venv.Environment(pathlib.Path(sys.argv[2]))\n"
        "with environment.locked(lambda text: print('waits', flush=True)):\n"
        "    print('has it', flush=True)\n"
    )
    environment = ensure_venv.Environment(place)
    with environment.locked(print):
        command = [sys.executable, "-B", "-c", program, str(ROOT / "bin" / "lib"), str(place)]
        other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert other.stdout
        assert other.stdout.readline() == "waits\n"
    assert other.communicate(timeout=PATIENCE)[0] == "has it\n"


def test_setup_cfg_names_every_package() -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg")
    named = set(parser["options"]["packages"].split())
    source = ROOT / "python"
    there = {".".join(init.parent.relative_to(source).parts) for init in source.rglob("__init__.py")}
    assert named == there | {"alpha_db.migrations", "alpha_db.superuser"}
    assert os.access(ROOT / "bin" / "quickstart", os.X_OK)
