"""Check the functions as a database has them, with pgspot and plpgsql_check: bin/lib/lint_functions.py

Makes a throw-away server, applies the migrations and the superuser step, and gives pgspot what pg_get_functiondef says
of every function (it cannot look into the DO blocks that the files are), and plpgsql_check every plpgsql function,
trigger functions with each of their tables. plpgsql_check is an extension of the server (Debian:
postgresql-15-plpgsql-check): without it, one line says that it was skipped.

One line a finding, and exit code 1 if there is any.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "python"))

from alpha_db.embedded import EmbeddedError, find_binaries, throwaway_server  # noqa: E402

SCHEMA = "lint"
Connection = psycopg.Connection[Any]

# ------------------------------------------------------------------------------------------------------------------
# pgspot

# Every function, and why these codes say nothing about it.
IGNORED_EVERYWHERE = {
    # Types in the defaults of arguments, which pg_get_functiondef prints unqualified; they were resolved when the
    # function was made.
    "PS017",
}
# They set role and search_path for the migration that calls them, so they can pin none of their own; a migration runs
# where only the schema's owner and alpha_owner may create (001 refuses otherwise), and PUBLIC may not call them.
UNPINNED = {
    "_take_migration_lock",
    "_begin_migration",
    "_begin_rollback",
    "_end_migration",
    "_finish_migration",
    "_finish_rollback",
}
# What commits may have no SET clause: every name in these is qualified (tests/chain/test_append.py attacks them).
UNPINNED |= {"_begin_append", "append_webhook", "append_decision", "prune_archived", "seal_logs"}
UNPINNED |= {"append_signal", "append_ai_debate", "append_order", "append_order_event"}
UNPINNED |= {"append_signals", "append_ai_debates", "append_orders", "append_order_events", "append_row"}
IGNORED_IN_UNPINNED = {"PS001", "PS005", "PS016", "PS017"}
# The files are DO blocks whose first statement sets the search_path (_begin_migration, or set_config), which pgspot
# does not follow: unqualified names in them are meant. Nor does CREATE OR REPLACE keep somebody else's function
# (PS002): alpha_owner could not replace it, and in a schema of ours nobody else may make one. What else is unsafe still
# shows.
IGNORED_IN_FILES = {"PS001", "PS002", "PS016", "PS017"}

# ------------------------------------------------------------------------------------------------------------------
# plpgsql_check: function, message or detail -> why it is no finding

NOT_SANITIZED = "text type variable is not sanitized"
ACCEPTED = [
    (
        r"^record_",
        r"unused parameter \"money_type\"",
        "makes an untyped literal and an integer resolve to numeric",
    ),
    (r"^_chain_\w+\(\)$", r"never read variable \"mark\"", "takes the result of setval"),
    (
        r"^(_begin_)?append",
        r"(never read|unused) variable \"(message|setting)\"",
        "takes a result, cheaper than PERFORM",
    ),
    (r".", r"target type is different type than source type", "a constant's cast, as in x jsonb := '[]'"),
    (r".", r"OUT variable \"\w+\" is maybe unmodified", "RETURN QUERY EXECUTE sets it"),
    (r"^damaged_rows\(", r"parameter \"table\" is reserved", "a release's payload names its members so"),
    (
        r"^(track_table|untrack_table|verify_tracked|table_history|table_as_of)\(",
        r"parameter \"table\" is reserved",
        "a call names it by its place",
    ),
    (r"^append_", r"unmodified OUT variable \"correlation_id\"", "the caller gave it"),
    (r"^_grant\(", NOT_SANITIZED, "the privilege is a constant in the migrations that call it"),
    (
        r"^(chain_rows|_log_tail|_set_column_length|_chain_generate|_chain_attach|chain_extend|find_chain_damage|verify_chain|_check_range_of_chain|_check_in_parts|damaged_rows|_revoke_from_public|_take_back_additions)\(",
        NOT_SANITIZED,
        "the text comes from format with %I and %L, in chain_rows_sql and its callers, regprocedure or quote_ident",
    ),
    (
        r"^(_find_by_key|_revoke_changes|_take_in_rows)\(",
        NOT_SANITIZED,
        "the text comes from format with %I, or _fill",
    ),
]

PLPGSQL = """
    select p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' as signature,
           coalesce(t.relation::text, '') as relation, c.level, c.message, coalesce(c.detail, '') as detail, c.lineno,
           coalesce(c.query, '') as query
    from pg_proc as p
    join pg_language as l on l.oid = p.prolang and l.lanname = 'plpgsql'
    left join (select distinct tgfoid, tgrelid::regclass as relation from pg_trigger where not tgisinternal) as t
      on t.tgfoid = p.oid
    cross join lateral plpgsql_check_function_tb(p.oid, coalesce(t.relation, 0::regclass), fatal_errors => false,
      other_warnings => true, extra_warnings => true, performance_warnings => false, security_warnings => true) as c
    where p.pronamespace = any (array[%(schema)s, 'alpha_db_guard']::regnamespace[])
      and (p.prorettype <> 'trigger'::regtype or t.relation is not null)
    order by 1, 2, c.lineno
"""


def prepare(database: Connection) -> None:
    """The migrations and the superuser step, into a schema of an empty database."""
    database.execute(f"create schema {SCHEMA}; set search_path = {SCHEMA}")
    files = [
        *sorted(f for f in (ROOT / "migrations").glob("*.sql") if not f.name.endswith(".rollback.sql")),
        ROOT / "superuser" / "ddl_guard.sql",
    ]
    for file in files:
        with database.transaction():
            database.execute(file.read_text(encoding="utf-8"))


def definitions(database: Connection) -> dict[str, str]:
    """Every function by its signature, as the statement that makes it, in pgspot's eyes.

    Without those whose body PostgreSQL parsed when they were made (RETURN): no name in them is looked up later.
    """
    rows = database.execute(
        "select p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', pg_get_functiondef(p.oid)"
        " from pg_proc as p where p.pronamespace = any (array[%s, 'alpha_db_guard']::regnamespace[])"
        " and p.prokind in ('f', 'p') and p.prosqlbody is null order by 1",
        [SCHEMA],
    ).fetchall()
    found = {}
    for signature, text in rows:
        # It prints every function as OR REPLACE. And pgspot knows pg_catalog, pg_temp as the one safe path; ours is the
        # install schema, where none but its owner may create, with pg_catalog before it by default.
        safe = re.sub(r"^CREATE OR REPLACE ", "CREATE ", text)
        found[signature] = re.sub(
            rf"^ SET search_path TO '?{SCHEMA}'?, '?pg_temp'?$",
            " SET search_path TO 'pg_catalog', 'pg_temp'",
            safe,
            count=1,
            flags=re.MULTILINE,
        )
    return found


def pgspot(texts: dict[str, str], *options: str) -> Iterator[tuple[str, str]]:
    """(name, issue) for each of the texts; an issue that is no code is what it could not read."""
    with tempfile.TemporaryDirectory() as directory:
        files = {}
        for number, (name, text) in enumerate(texts.items()):
            path = Path(directory) / f"{number}.sql"
            path.write_text(text, encoding="utf-8")
            files[str(path)] = name
        # With a second file it names each.
        empty = Path(directory) / "empty.sql"
        empty.write_text("", encoding="utf-8")
        run = subprocess.run(
            [sys.executable, "-m", "pgspot", *options, *files, str(empty)],
            capture_output=True,
            text=True,
            check=False,
        )
    if run.stderr or "TOTAL:" not in run.stdout:
        yield "pgspot", f"did not run: {(run.stderr.strip() or run.stdout).splitlines()[-1]}"
        return
    current = ""
    for line in map(str.strip, run.stdout.splitlines()):
        if line.removesuffix(":") in files:
            current = files[line.removesuffix(":")]
        elif line and not line.startswith(("Errors:", "TOTAL:")) and not line.endswith("empty.sql:"):
            yield current, re.sub(r" at line \d+$", "", line)


def is_code(issue: str) -> bool:
    return re.match(r"PS\d{3}:", issue) is not None


def check_pgspot(database: Connection) -> Iterator[str]:
    """What pgspot says of the functions and of the files, without what is ignored above."""
    functions = definitions(database)
    unread = set()
    for name, issue in pgspot(functions):
        ignored = IGNORED_IN_UNPINNED if name.split("(")[0] in UNPINNED else IGNORED_EVERYWHERE
        if not is_code(issue):
            unread.add(name)  # libpg_query cannot read every body; plpgsql_check reads them all
        elif issue[:5] not in ignored:
            yield f"{name}: pgspot {issue}"
    for name, issue in pgspot({n: t for n, t in functions.items() if n in unread}, "--no-plpgsql"):
        ignored = IGNORED_IN_UNPINNED if name.split("(")[0] in UNPINNED else IGNORED_EVERYWHERE
        if not is_code(issue) or issue[:5] not in ignored:
            yield f"{name}: pgspot {issue}"
    files = {
        f.name: f.read_text(encoding="utf-8")
        for folder in ("migrations", "superuser")
        for f in sorted((ROOT / folder).glob("*.sql"))
    }
    for name, issue in pgspot(files):
        if is_code(issue) and issue[:5] not in IGNORED_IN_FILES:
            yield f"{name}: pgspot {issue}"


def check_plpgsql(database: Connection) -> Iterator[str]:
    """What plpgsql_check says, without what is accepted above."""
    database.execute("create extension plpgsql_check schema public")
    database.execute(f"set search_path = {SCHEMA}, public")
    for row in database.execute(PLPGSQL, {"schema": SCHEMA}).fetchall():
        signature, relation, level, message, detail, line, statement = row
        said = f"{message} {detail}".strip()
        if NOT_SANITIZED in said and re.match(r"\s*_fill\(", statement):
            continue  # it quotes as the template says
        if not any(re.search(f, signature) and re.search(m, said) for f, m, _ in ACCEPTED):
            on = f" on {relation}" if relation else ""
            yield f"{signature}{on}, line {line}: {level}: {said}"


def has_plpgsql_check(directory: Path) -> bool:
    """Whether the server of a directory of programs has the extension."""
    run = subprocess.run([directory / "pg_config", "--sharedir"], capture_output=True, text=True, check=False)
    return run.returncode == 0 and (Path(run.stdout.strip()) / "extension" / "plpgsql_check.control").exists()


def choose() -> tuple[Path, bool]:
    """The directory of a server's programs, one with plpgsql_check if there is any, and whether it has it."""
    found = []
    for wish in (None, "18", "17", "16", "15"):
        try:
            binaries = find_binaries(wish)
        except EmbeddedError:
            continue
        try:
            if has_plpgsql_check(binaries.directory):
                return binaries.directory, True
        except OSError:
            pass  # no pg_config there
        found.append(binaries.directory)
    if not found:
        raise EmbeddedError("no PostgreSQL to check the functions on")
    return found[0], False


def main() -> int:
    """Check; 1 if there are findings, 3 if there is no server to check on."""
    if importlib.util.find_spec("pgspot") is None:
        print("pgspot is not installed: pip install 'alpha-db[lint]'")
        return 3
    try:
        directory, checks = choose()
        with (
            throwaway_server(directory) as server,
            psycopg.connect(server.url(), autocommit=True) as database,
        ):
            prepare(database)
            found = list(check_pgspot(database))
            if checks:
                found += check_plpgsql(database)
    except EmbeddedError as problem:
        print(problem)
        return 3
    if not checks:
        print("plpgsql_check: skipped, for no PostgreSQL here has it (Debian: postgresql-15-plpgsql-check)")
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
