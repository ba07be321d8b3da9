"""bin/lib/lint_migrations.py finds what it is for, and nothing in what is there."""

from __future__ import annotations

import io
import runpy
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from tests.support import ROOT

pytest.importorskip("pglast")
LINT = ROOT / "bin" / "lib" / "lint_migrations.py"

FIRST = "001_core_functions.sql"
LATER = "003_attach_triggers.sql"
ROLLBACK = "003_attach_triggers.rollback.sql"


def lint(folder: Path) -> tuple[int, str]:
    """The exit code and the output for a folder, in this process."""
    output = io.StringIO()
    with redirect_stdout(output):
        code = runpy.run_path(str(LINT))["main"]([str(folder)])
    return code, output.getvalue()


SAMPLES = {
    FIRST: """-- 001_core_functions: small, with … what the real one has.

do $migration$
begin
perform pg_advisory_xact_lock(hashtextextended('alpha-db/migrate', 0));
create function snapshot_sees() returns text language plpgsql as $function$
begin
  execute format($template$
create function %1$I() returns trigger language plpgsql as $chain$
begin
  lock table only %4$I in exclusive mode;
  raise exception 'UPPER Case is a message''s to choose, and "QUOTED" a name''s';
end
$chain$ $template$, 'x');
end
$function$;
perform finish_migration('001_core_functions');
end
$migration$;
""",
    "001_core_functions.rollback.sql": """do $rollback$
begin
perform begin_rollback('001_core_functions');
end
$rollback$;
""",
    LATER: """-- 003_attach_triggers: more.
-- depends: 001_core_functions

do $migration$
begin
if not begin_migration('003_attach_triggers') then return; end if;
create function f() returns trigger
language plpgsql as $function$
begin
    perform refuse('AUD-001');
end
$function$;
create trigger _500_validate before insert on x for each row execute function f();
perform finish_migration('003_attach_triggers');
end
$migration$;
""",
    ROLLBACK: """-- Takes it back.

do $rollback$
begin
perform begin_rollback('003_attach_triggers');
end
$rollback$;
""",
    "023_last.sql": """-- depends: 003_attach_triggers

do $migration$
begin
if not begin_migration('023_last') then return; end if;
perform finish_migration('023_last');
end
$migration$;
""",
    "023_last.rollback.sql": """do $rollback$
begin
perform begin_rollback('023_last');
end
$rollback$;
""",
}


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """Migrations in small, to be spoilt."""
    for name, text in SAMPLES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_nothing_in_the_samples(migrations: Path) -> None:
    assert lint(migrations) == (0, "")


def test_nothing_in_what_is_there() -> None:
    run = subprocess.run([sys.executable, LINT], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        (LATER, "create trigger _500_validate", "CREATE trigger _500_validate", "CREATE: keywords"),
        (LATER, "    perform refuse(", "    PERFORM refuse(", "PERFORM: keywords"),
        (FIRST, "create function snapshot_sees", "create FUNCTION snapshot_sees", "FUNCTION: keywords"),
        (FIRST, "lock table only %4$I in", "LOCK table only %4$I in", "LOCK: keywords"),
        (LATER, "do $migration$", "begin;\ndo $migration$", "controls the transaction"),
        (LATER, "do $migration$", "\\set x 1\ndo $migration$", "metacommand"),
        (LATER, "do $migration$", "copy signals from stdin;\ndo $migration$", "has a COPY"),
        (LATER, "do $migration$", "/* a /* nested */ comment; */ select 1;\ndo $migration$", "sqlparse splits it"),
        (LATER, "do $migration$", "select '\\'; select 2;\ndo $migration$", "sqlparse splits it"),
        (LATER, "-- depends: 001_core_functions\n", "", "has no -- depends:"),
        (LATER, "-- depends: 001_core_functions\n", "-- depends: 001_core_functions\n-- and more\n",
         "must be the last"),
        (LATER, "-- depends: 001_core_functions\n\n", "\n-- depends: 001_core_functions\n",
         "after the leading comments"),
        (LATER, "-- depends: 001_core_functions", "-- depends: 001_core_function", "there is no such migration"),
        ("023_last.sql", "-- depends: 003_attach_triggers", "-- depends: 001_core_functions", "order is open"),
        (LATER, "begin_migration('003", "begin_migration('03", "does not begin with begin_migration"),
        (LATER, "finish_migration('003", "finish_migration('03", "does not end with"),
        (LATER, "if not begin_migration", "create table early ();\nif not begin_migration", "does not begin with"),
        (FIRST, "alpha-db/migrate", "alpha-db/other", "before it has taken the migration lock"),
        (ROLLBACK, "begin_rollback('003", "begin_rollback('03", "does not begin with perform begin_rollback"),
        (LATER, "-- 003", "\ufeff-- 003", "byte order mark"),
        (LATER, "returns trigger\n", "returns trigger\r\n", "carriage return"),
        (LATER, "returns trigger\n", "returns trigger (\n", None),
        (LATER, "do $migration$", "selec 1;\ndo $migration$", "parser refuses"),
    ],
)  # fmt: skip
def test_finds(migrations: Path, name: str, old: str, new: str, said: str | None) -> None:
    file = migrations / name
    text = file.read_bytes().decode()
    assert old in text
    file.write_bytes(text.replace(old, new, 1).encode())
    code, output = lint(migrations)
    if said is None:  # inside a DO block only plpgsql_check sees it
        assert (code, output) == (0, "")
    else:
        assert code == 1
        assert said in output
        assert f"{name}:" in output


def test_finds_another_quote(migrations: Path) -> None:
    file = migrations / LATER
    file.write_text(file.read_text().replace("$migration$", "$other$"))
    code, output = lint(migrations)
    assert code == 1
    assert "quoted by $other$" in output


def test_finds_a_missing_rollback(migrations: Path) -> None:
    (migrations / ROLLBACK).unlink()
    code, output = lint(migrations)
    assert code == 1
    assert "has no rollback" in output


def test_finds_a_rollback_of_nothing_and_a_wrong_name(migrations: Path) -> None:
    shutil.copy(migrations / ROLLBACK, migrations / "7_x.rollback.sql")
    shutil.copy(migrations / LATER, migrations / "Seven.sql")
    code, output = lint(migrations)
    assert code == 1
    assert "rollback of nothing" in output
    assert "is not named like" in output


def test_finds_an_empty_folder(tmp_path: Path) -> None:
    assert lint(tmp_path)[0] == 1
