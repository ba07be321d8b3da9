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

HOME = "declare\n  home  pg_catalog.text := pg_catalog.current_schema();\n"
PIN_MIGRATION, PIN_ROLLBACK = (
    f"""perform pg_catalog.set_config('alpha.previous_search_path', pg_catalog.current_setting('search_path'), true),
        pg_catalog.set_config('quote_all_identifiers', 'off', true),
        pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
if not exists (select from pg_proc as p
               join pg_namespace as n on n.oid = p.pronamespace
               join pg_class as c on c.relnamespace = n.oid and c.relname = 'installed_migrations'
               join pg_roles as r on r.oid = p.proowner and r.oid = c.relowner
               where p.proname = '_begin_{kind}' and n.nspname = home
                 and r.rolname ~ '^([a-z][a-z0-9_]{{0,39}})?alpha_owner$') then
  raise exception 'alpha-db is not installed in schema %, which is first on search_path', home using errcode = '3F000';
end if;
perform set_config('search_path', concat(quote_ident(home), ', pg_temp'), true);
"""
    for kind in ("migration", "rollback")
)


def lint(folder: Path) -> tuple[int, str]:
    """The exit code and the output for a folder, in this process."""
    output = io.StringIO()
    with redirect_stdout(output):
        code = runpy.run_path(str(LINT))["main"]([str(folder)])
    return code, output.getvalue()


SAMPLES = {
    FIRST: """-- 001_core_functions: small, with … what the real one has.

do $migration$
declare
  install_schema  pg_catalog.text := pg_catalog.current_schema();
  names           pg_catalog.text[];
begin
perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
execute format('create table %I.lock_migrations ()', install_schema);
create function _snapshot_sees() returns text language plpgsql as $function$
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
create procedure _begin_append()
language plpgsql
as $procedure$
declare
  ignored pg_catalog.text;
begin
  commit;
end
$procedure$;
perform _finish_migration('001_core_functions');
end
$migration$;
""",
    "001_core_functions.rollback.sql": f"""do $rollback$
{HOME}begin
{PIN_ROLLBACK}perform _begin_rollback('001_core_functions');
end
$rollback$;
""",
    LATER: f"""-- 003_attach_triggers: more.
-- depends: 001_core_functions

do $migration$
{HOME}begin
{PIN_MIGRATION}if not _begin_migration('003_attach_triggers') then return; end if;
create function f() returns trigger
language plpgsql as $function$
begin
    perform _refuse('AUD-001');
end
$function$;
create trigger _500_validate before insert on x for each row execute function f();
perform _finish_migration('003_attach_triggers');
end
$migration$;
""",
    ROLLBACK: f"""-- Takes it back.

do $rollback$
{HOME}begin
{PIN_ROLLBACK}perform _begin_rollback('003_attach_triggers');
end
$rollback$;
""",
    "023_last.sql": f"""-- depends: 003_attach_triggers

do $migration$
{HOME}begin
{PIN_MIGRATION}if not _begin_migration('023_last') then return; end if;
perform _finish_migration('023_last');
end
$migration$;
""",
    "023_last.rollback.sql": f"""do $rollback$
{HOME}begin
{PIN_ROLLBACK}perform _begin_rollback('023_last');
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
        (LATER, "    perform _refuse(", "    PERFORM _refuse(", "PERFORM: keywords"),
        (FIRST, "create function _snapshot_sees", "create FUNCTION _snapshot_sees", "FUNCTION: keywords"),
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
        (LATER, "if not _begin_migration('003", "if not _begin_migration('03", "as all do, up to _begin_migration"),
        (LATER, "perform pg_catalog.set_config('alpha", "perform set_config('alpha", "does not begin as all do"),
        (LATER, "home), ', pg_temp')", "home), ', public')", "does not begin as all do"),
        (LATER, HOME, HOME.replace("current_schema()", "'public'"), "does not begin as all do"),
        (ROLLBACK, PIN_ROLLBACK, "", "does not begin as all do"),
        (LATER, "begin\nperform", "  item text;\nbegin\nperform", "item text: nothing has pinned"),
        (ROLLBACK, "begin\nperform", "  item record;\nbegin\nperform", "item record: nothing has pinned"),
        (FIRST, "names           pg_catalog.", "names  ", "names text[]: nothing has pinned"),
        (FIRST, "install_schema  pg_catalog.text", "install_schema  constant text", "install_schema text: nothing"),
        (FIRST, "ignored pg_catalog.text", "ignored text", "ignored text: nothing has pinned"),
        (FIRST, "begin\nperform pg_catalog.", "begin\nperform ", "does not begin with perform pg_catalog.set_config"),
        (LATER, "_refuse('AUD-001')", "_refuse('[\\d]')", "a backslash in a plain string"),
        (LATER, "_refuse('AUD-001')", "_refuse(E'[\\d]')", None),
        (LATER, "_refuse('AUD-001')", "_refuse(E'a' || '\\')", "a backslash in a plain string"),
        (FIRST, "'UPPER Case", "'\\UPPER", "a backslash in a plain string"),
        (LATER, "_finish_migration('003", "_finish_migration('03", "does not end with"),
        (LATER, "if not _begin_migration", "create table early ();\nif not _begin_migration", "does not begin as"),
        (FIRST, "lock_migrations", "lock_other", "before it has taken the migration lock"),
        (FIRST, "execute format('create", "create table early ();\nexecute format('create", "before it has taken"),
        (ROLLBACK, "perform _begin_rollback('003", "perform _begin_rollback('03", "up to perform _begin_rollback"),
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
