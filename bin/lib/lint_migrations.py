"""Check the SQL files as yoyo, psql and libpg_query read them: bin/lib/lint_migrations.py [FOLDER...]

yoyo splits a file with sqlparse, whose releases differ; libpg_query (pglast) is PostgreSQL's own parser. Where the two
disagree, yoyo would run something else than psql. Also checked: what may not stand in a file, where `-- depends:` may
stand, that each file pins search_path before it looks up a name, takes the migration lock first and has a rollback,
that no string depends on standard_conforming_strings, and one case for keywords.

One line a finding, `file:line: what`, and exit code 1 if there is any.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pglast
import sqlparse
from pglast.parser import ParseError, scan

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = (ROOT / "migrations", ROOT / "superuser")

NAME = re.compile(r"^(?P<name>[0-9]+_[a-z0-9_]+|[a-z][a-z0-9_]*)(?P<rollback>\.rollback)?\.sql$")
DEPENDS = re.compile(r"^--\s*depends:(?P<names>.*)$", re.MULTILINE)
BODY = re.compile(r"\bdo\s+(?P<tag>\$\w*\$)(?P<body>.*)(?P=tag)", re.DOTALL)
DOLLAR_QUOTED = re.compile(r"^(?P<tag>\$\w*\$)(?P<body>.*)(?P=tag)$", re.DOTALL)
# what format() and _fill() put in: no token of SQL
PLACEHOLDER = re.compile(r"%(\d+\$)?[sIL]|%%|\{[a-z_]+:[ILs]\}")
# The first statement of a file that has no _begin_migration, and how it takes the lock.
PATH = "perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);"
LOCKS = (
    "execute format('create table %I.lock_migrations ()', install_schema);",
    "execute format('lock table only %I.lock_migrations in share update exclusive mode', desk);",
)
# What every other file declares and begins with: until the path is pinned, a name could be anybody's.
HOME = re.compile(r"^  home +pg_catalog\.text := pg_catalog\.current_schema\(\);$", re.MULTILINE)
PIN = """\
perform pg_catalog.set_config('alpha.previous_search_path', pg_catalog.current_setting('search_path'), true),
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
# A declaration, and the types that are PostgreSQL's, or the install schema's (_fill), whatever the path is.
DECLARED = re.compile(r"^\s*(?P<name>\w+)\s+(constant\s+)?(?P<type>({home:I})?[^;:\s]+)")
SAFE_TYPE = re.compile(r"^(pg_catalog|{home:I})\.\w+(\[\])*$")
FUNCTION = re.compile(
    r"^create (or replace )?(function|procedure) \S+?\((?P<head>.*?)^as (?P<tag>\$\w+\$)(?P<body>.*?)(?P=tag)",
    re.DOTALL | re.MULTILINE,
)
CHANGES = re.compile(r"\b(create|alter|drop|grant|revoke|insert|update|delete|execute)\b")


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a file."""

    file: Path
    line: int
    what: str

    def __str__(self) -> str:
        shown = self.file.relative_to(ROOT) if self.file.is_relative_to(ROOT) else self.file
        return f"{shown}:{self.line}: {self.what}"


def line_of(text: str, position: int) -> int:
    """The line number of a position."""
    return text.count("\n", 0, position) + 1


def statements(parts: list[str]) -> list[str]:
    """Statements as both splitters should see them: without the comments between them, and the last semicolon."""
    found = []
    for part in parts:
        kept = re.sub(r"\A(\s+|--[^\n]*(\n|\Z))*", "", part).rstrip().removesuffix(";").rstrip()
        if kept:
            found.append(kept)
    return found


def check_text(file: Path, text: str) -> Iterator[Finding]:
    """Characters that one reader or another stumbles over."""
    if text.startswith("\ufeff"):
        yield Finding(file, 1, "begins with a byte order mark, which sqlparse takes for a statement")
    if "\r" in text:
        yield Finding(
            file, line_of(text, text.index("\r")), "has a carriage return: its checksum would differ"
        )
    if not text.endswith("\n"):
        yield Finding(file, line_of(text, len(text)), "does not end with a newline")
    for match in re.finditer(r"^\\", text, re.MULTILINE):
        yield Finding(file, line_of(text, match.start()), "has a metacommand, which only psql knows")


def check_split(file: Path, text: str) -> Iterator[Finding]:
    """The same statements for yoyo (sqlparse) as for PostgreSQL, and none that has no place in a transaction."""
    try:
        ours = statements([str(part) for part in pglast.split(text)])
        parsed = pglast.parse_sql(text)
    except ParseError as problem:
        yield Finding(file, 1, f"PostgreSQL's parser refuses it: {problem}")
        return
    theirs = statements(sqlparse.split(text))
    if ours != theirs:
        index = next(
            (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
            min(len(ours), len(theirs)),
        )
        shown = (ours + theirs)[index] if index < len(ours + theirs) else ""
        yield Finding(
            file,
            line_of(text, max(text.find(shown), 0)),
            f"sqlparse splits it into {len(theirs)} statements, PostgreSQL into {len(ours)};"
            f" they differ from statement {index + 1} on",
        )
    for statement in parsed:
        kind = type(statement.stmt).__name__
        line = line_of(text, len(text.encode()[: statement.stmt_location].decode()))
        if kind == "TransactionStmt":
            yield Finding(file, line, "controls the transaction, which is yoyo's or psql -1's to do")
        elif kind == "CopyStmt":
            yield Finding(file, line, "has a COPY, which yoyo cannot feed")


def check_depends(file: Path, text: str, names: set[str], is_first: bool) -> Iterator[Finding]:
    """`-- depends:` as yoyo finds it: in the leading block of comments, and nothing but names in it or after it."""
    header = re.match(r"(--[^\n]*\n)*", text)
    end = header.end() if header else 0
    found = list(DEPENDS.finditer(text))
    for match in found:
        line = line_of(text, match.start())
        if match.start() >= end:
            yield Finding(
                file, line, "-- depends: stands after the leading comments, where yoyo does not look"
            )
        elif match.end() + 1 != end:
            yield Finding(
                file, line, "-- depends: must be the last of the leading comments: yoyo reads on as names"
            )
        for name in match["names"].split() or ["nothing"]:
            if name not in names:
                yield Finding(file, line, f"depends on {name}, and there is no such migration")
    if len(found) > 1:
        yield Finding(file, line_of(text, found[1].start()), "has more than one -- depends:")
    if not found and not is_first:
        yield Finding(file, 1, "has no -- depends:, and file names alone do not order 23_ and 100_")


def check_lock(file: Path, text: str, name: str, kind: str, is_first: bool) -> Iterator[Finding]:
    """The migration lock is the first thing a file takes; a migration begins and ends as all do."""
    match = BODY.search(text)
    if match is None:
        yield Finding(file, 1, "is no DO block, so its checksum cannot be recorded")
        return
    wanted = {"migration": "$migration$", "rollback": "$rollback$", "superuser": "$guard$"}[kind]
    if match["tag"] != wanted:
        yield Finding(
            file, line_of(text, match.start()), f"its DO block is quoted by {match['tag']}, not {wanted}"
        )
    begin = re.search(r"\bbegin\n(?P<rest>.*)", match["body"], re.DOTALL)
    rest = begin["rest"] if begin else ""
    code = "\n".join(line for line in rest.splitlines() if line.strip() and not line.strip().startswith("--"))
    if kind == "rollback":
        start = f"{PIN.format(kind=kind)}perform _begin_rollback('{name}');"
        if not code.startswith(start) or not HOME.search(match["body"]):
            yield Finding(
                file,
                1,
                f"does not begin as all do, up to perform _begin_rollback('{name}'), which takes the lock",
            )
    elif kind == "migration" and not is_first:
        start = f"{PIN.format(kind=kind)}if not _begin_migration('{name}') then return; end if;"
        if not code.startswith(start) or not HOME.search(match["body"]):
            yield Finding(
                file, 1, f"does not begin as all do, up to _begin_migration('{name}'), which takes the lock"
            )
    else:
        if not code.startswith(PATH):
            yield Finding(file, 1, f"does not begin with {PATH}")
        lock = next((lock for lock in LOCKS if lock in code), None)
        before = code.split(lock, 1)[0] if lock else code
        if lock is None or CHANGES.search(re.sub(r"'[^']*'", "", before)):
            yield Finding(file, 1, "changes something before it has taken the migration lock")
    if kind == "migration" and not code.rstrip().endswith(f"perform _finish_migration('{name}');\nend"):
        yield Finding(
            file, line_of(text, len(text)), f"does not end with perform _finish_migration('{name}')"
        )


def check_types(file: Path, text: str) -> Iterator[Finding]:
    """Where nothing has pinned search_path yet, each declared type is qualified: DECLARE comes first of all."""
    block = BODY.search(text)
    places = [(block["body"], block.start("body"))] if block else []
    places += [
        (match["body"], match.start("body"))
        for match in FUNCTION.finditer(text)
        if not re.search(r"^set search_path", match["head"], re.MULTILINE)
    ]
    for body, start in places:
        declared = re.match(
            r"\s*(#[^\n]*\n)*\s*declare\n(?P<lines>.*?)^\s*begin\n", body, re.DOTALL | re.MULTILINE
        )
        if declared is None:
            continue
        position = start + declared.start("lines")
        for line in declared["lines"].splitlines(keepends=True):
            match = None if line.lstrip().startswith("--") else DECLARED.match(line)
            if match and not SAFE_TYPE.match(match["type"]):
                yield Finding(
                    file,
                    line_of(text, position),
                    f"{match['name']} {match['type']}: nothing has pinned search_path yet: qualify the type",
                )
            position += len(line)


def check_strings(file: Path, source: str, offset: int = 0) -> Iterator[Finding]:
    """No backslash in a plain string: standard_conforming_strings decides what it means."""
    try:
        tokens = scan(source)
    except ParseError:
        return  # a piece of a query that format() completes: no text of its own
    for token in tokens:
        if token.name != "SCONST":
            continue
        part = source[token.start : token.end + 1]
        line = offset + line_of(source, token.start)
        quoted = DOLLAR_QUOTED.match(part)
        if quoted:
            yield from check_strings(file, quoted["body"], line - 1)
        elif part.startswith("'") and "\\" in part:
            yield Finding(
                file, line, f"{part}: a backslash in a plain string; use E'…', or a class such as [.]"
            )


def check_case(file: Path, text: str, offset: int = 0) -> Iterator[Finding]:
    """Keywords and names in lower case, in what is quoted by dollars too."""
    source = PLACEHOLDER.sub(lambda m: "x" * len(m[0]), text)
    try:
        tokens = scan(source)
    except ParseError:
        return  # a piece of a query that format() completes: no text of its own
    for token in tokens:
        part = source[token.start : token.end + 1]
        line = offset + line_of(source, token.start)
        if token.name == "SCONST":
            quoted = DOLLAR_QUOTED.match(part)
            if quoted:
                yield from check_case(file, quoted["body"], line - 1)
        elif (
            token.name not in ("SQL_COMMENT", "C_COMMENT")
            and not part.startswith('"')
            and re.search("[A-Z]", part)
        ):
            yield Finding(file, line, f"{part}: keywords and names are written in lower case")


def check_folder(folder: Path) -> Iterator[Finding]:
    """All SQL files of a folder. Those of migrations/ are numbered; others need no depends, no _begin_migration."""
    files = sorted(folder.glob("*.sql"))
    if not files:
        yield Finding(folder, 0, "holds no SQL files")
    numbered = [f for f in files if NAME.match(f.name) and f.name[0].isdigit()]
    names = {f.stem for f in numbered if not f.name.endswith(".rollback.sql")}
    first = min(names, default="")
    seen: dict[str, Path] = {}
    for file in files:
        match = NAME.match(file.name)
        if match is None:
            yield Finding(
                file, 0, "is not named like 001_what_it_makes.sql or 001_what_it_makes.rollback.sql"
            )
            continue
        try:
            text = file.read_bytes().decode("utf-8")
        except UnicodeDecodeError as problem:
            yield Finding(file, 0, f"is not UTF-8: {problem}")
            continue
        name, is_rollback = match["name"], match["rollback"] is not None
        is_migration = file in numbered and not is_rollback
        kind = "migration" if is_migration else "rollback" if file in numbered else "superuser"
        yield from check_text(file, text)
        yield from check_split(file, text.removeprefix("\ufeff"))
        yield from check_case(file, text.removeprefix("\ufeff"))
        yield from check_types(file, text)
        yield from check_strings(file, text.removeprefix("\ufeff"))
        if kind != "superuser" or not is_rollback:
            yield from check_lock(file, text, name, kind, is_first=name == first)
        if is_migration:
            yield from check_depends(file, text, names - {name}, is_first=name == first)
            for match_depends in DEPENDS.finditer(text):
                depended = match_depends["names"].strip()
                if depended in seen:
                    yield Finding(
                        file, 1, f"depends on {depended} as {seen[depended].name} does: order is open"
                    )
                seen[depended] = file
        if not is_rollback and not (folder / f"{name}.rollback.sql").exists():
            yield Finding(file, 0, "has no rollback: yoyo would only take its mark away")
        if is_rollback and not (folder / f"{name}.sql").exists():
            yield Finding(file, 0, "is the rollback of nothing")


def main(arguments: list[str]) -> int:
    """Check the folders; 1 if there are findings."""
    found = [f for folder in ([Path(a) for a in arguments] or FOLDERS) for f in check_folder(folder)]
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
