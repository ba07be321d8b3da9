"""Build migrations/ from sql/ by sql/manifest.toml, and the list of what they make: bin/build [--check]

A migration is one DO block (sql/wrapper/), so that it is atomic, has one checksum however it is applied, and installs
into any schema. In it, a SELECT that is called for its effect is a PERFORM; everything else stands as in sql/.

Its rollback drops what its files create, in reverse order, and puts back what they replaced. What a function or a DO
block has made, the manifest's own rollback file takes back first.

One line a finding (`file: what`), and exit code 1 if there is any.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pglast
from objects import listed
from pglast import ast
from pglast.enums import AlterTableType

ROOT = Path(__file__).resolve().parent.parent.parent
LONGEST_LINE = 120


class BuildError(Exception):
    """A file of sql/ or the manifest cannot be built from."""


@dataclass(frozen=True)
class Migration:
    """One entry of the manifest; `released` holds the SHA-256 of the migration and of its rollback, or nothing."""

    name: str
    what: str
    files: tuple[str, ...]
    rollback: str | None
    released: tuple[str, ...]


@dataclass(frozen=True)
class Statement:
    """A statement of a file: the file, its text with the comments above it, without them, and its syntax tree."""

    file: Path
    text: str
    bare: str
    tree: ast.Node


def read_manifest(sql: Path) -> list[Migration]:
    """The migrations in the order in which they are applied. Raises BuildError."""
    try:
        entries = tomllib.loads((sql / "manifest.toml").read_text(encoding="utf-8"))["migration"]
        return [
            Migration(
                e["name"],
                e["what"].strip(),
                tuple(e["files"]),
                e.get("rollback"),
                tuple(e.get("released", ())),
            )
            for e in entries
        ]
    except (OSError, KeyError, tomllib.TOMLDecodeError) as problem:
        raise BuildError(f"{sql / 'manifest.toml'}: {problem!r}") from problem


def statements(file: Path) -> list[Statement]:
    """The statements of a file, as PostgreSQL's own parser splits it. Raises BuildError."""
    text = file.read_text(encoding="utf-8")
    try:
        trees = pglast.parse_sql(text)
    except pglast.parser.ParseError as problem:
        raise BuildError(f"{file}: {problem}") from problem
    found, begin = [], 0
    for tree in trees:
        if not tree.stmt_len:  # so the parser says it of a last statement without a semicolon
            raise BuildError(f"{file}: ends without a semicolon")
        end = tree.stmt_location + tree.stmt_len + 1
        part = text[begin:end]
        bare = re.sub(r"\A(\s+|--[^\n]*\n)*", "", part)
        found.append(Statement(file, part.strip("\n"), bare, tree.stmt))
        begin = end
    if rest := text[begin:].strip():
        raise BuildError(f"{file}: a comment stands after the last statement: {rest[:60]!r}")
    return found


def in_plpgsql(file: Path) -> str:
    """The file as statements of a plpgsql block: SELECT for its effect becomes PERFORM. Raises BuildError."""
    parts = []
    for statement in statements(file):
        text = statement.text
        if isinstance(statement.tree, ast.SelectStmt):
            if not statement.bare.startswith("select "):
                raise BuildError(
                    f"{file}: only a plain SELECT can be called for its effect: {statement.bare[:60]!r}"
                )
            at = len(text) - len(statement.bare.strip("\n"))
            text = f"{text[:at]}perform {text[at + len('select ') :]}"
        parts.append(text)
    return "\n".join(parts)


def _name(node: ast.Node) -> str:
    """The unqualified name that a CREATE statement gives."""
    match node:
        case ast.CreateFunctionStmt():
            return str(node.funcname[-1].sval)
        case ast.CreateStmt():
            return str(node.relation.relname)
        case ast.ViewStmt():
            return str(node.view.relname)
        case ast.CreateDomainStmt():
            return str(node.domainname[-1].sval)
        case ast.CompositeTypeStmt():
            return str(node.typevar.relname)
        case _:
            raise BuildError(f"no name in {type(node).__name__}")


DROPPED_AS = {
    ast.CreateStmt: "table",
    ast.ViewStmt: "view",
    ast.CreateDomainStmt: "domain",
    ast.CompositeTypeStmt: "type",
}


def _definition(replaced: Statement, earlier: list[Path]) -> str:
    """The definition of a function that a later migration replaces, and its comment. Raises BuildError."""
    name, made_in, found = _name(replaced.tree), None, []
    for statement in (s for file in earlier for s in statements(file)):
        match statement.tree:
            case ast.CreateFunctionStmt() if _name(statement.tree) == name:
                made_in = f"{statement.file.parent.name}/{statement.file.name}"
                found = [re.sub(r"\Acreate (or replace )?", "create or replace ", statement.bare)]
            case ast.CommentStmt(object=ast.ObjectWithArgs() as function) if (
                function.objname[-1].sval == name
            ):
                found.append(statement.bare)
    if made_in is None:
        raise BuildError(f"{name} is replaced, but no earlier migration makes it")
    if not re.search(rf"^-- Replaces .*\b{re.escape(made_in)}\b", replaced.text, re.MULTILINE):
        raise BuildError(f"{replaced.file}: say above {name}: -- Replaces the one in {made_in}.")
    return "\n".join(part.strip("\n") for part in found)


def drops(files: list[Path], earlier: list[Path]) -> list[str]:
    """What undoes these files, last statement first; `earlier` are the files of the migrations before."""
    undone = []
    for statement in reversed([statement for file in files for statement in statements(file)]):
        match statement.tree:
            case ast.CreateFunctionStmt(replace=True):
                undone.append(_definition(statement, earlier))
            case ast.CreateFunctionStmt() as tree:
                undone.append(f"drop {'procedure' if tree.is_procedure else 'function'} {_name(tree)};")
            case ast.CreateTrigStmt() as tree:
                undone.append(f"drop trigger {tree.trigname} on {tree.relation.relname};")
            case ast.ViewStmt(replace=True):
                pass  # only by hand: CREATE OR REPLACE cannot take a column away again
            case tree if type(tree) in DROPPED_AS:
                undone.append(f"drop {DROPPED_AS[type(tree)]} {_name(tree)};")
    return undone


def cannot_undo(files: list[Path]) -> str | None:
    """The first statement that drops() has no answer to, so that its rollback must be written by hand.

    An index and a grant go with the object that they are for, if the same files make that.
    """
    every = [statement for file in files for statement in statements(file)]
    made = {_name(s.tree) for s in every if type(s.tree) in (*DROPPED_AS, ast.CreateFunctionStmt)}
    for statement in every:
        match statement.tree:
            case ast.DropStmt() | ast.DoStmt():
                return f"{statement.file}: {statement.bare[:60]!r}"
            case ast.ViewStmt(replace=True):
                return f"{statement.file}: {statement.bare[:60]!r}"
            case ast.AlterTableStmt(cmds=commands) if any(
                c.subtype == AlterTableType.AT_AddColumn for c in commands
            ):
                return f"{statement.file}: {statement.bare[:60]!r}"
            case ast.IndexStmt() as index if index.relation.relname not in made:
                return f"{statement.file}: {statement.bare[:60]!r}"
            case ast.SelectStmt() if not _granted(statement.bare) <= made:
                return f"{statement.file}: {statement.bare[:60]!r}"
    return None


def _granted(statement: str) -> set[str]:
    """The objects on which `select _grant('…', '{…}', …)` grants; empty for any other statement."""
    said = re.match(r"select _grant\(\s*'[^']*'\s*,\s*'\{([^}]*)\}'", statement)
    return {name.strip() for name in said[1].split(",")} if said else set()


def fill(wrapper: Path, name: str, body: str) -> str:
    """A file of sql/wrapper/ with its two placeholders filled in."""
    return wrapper.read_text(encoding="utf-8").replace("{name}", name).replace("{body}", body)


def build(sql: Path) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Each file of migrations/: its name, its text, and the SHA-256 that it is frozen at. Raises BuildError."""
    earlier: list[Path] = []
    before = None
    for migration in read_manifest(sql):
        name, files = migration.name, [sql / file for file in migration.files]
        header = f"{migration.name}: {migration.what}".replace("\n", "\n-- ")
        depends = f"-- depends: {before}\n" if before else ""
        body = "\n".join(f"-- sql/{file.relative_to(sql)}\n\n{in_plpgsql(file)}\n" for file in files)
        wrapper = sql / "wrapper" / ("migration.sql" if before else "first_migration.sql")
        made_from = f"-- {header}\n-- Built from sql/ by bin/build; change it there.\n{depends}\n"
        yield f"{name}.sql", made_from + fill(wrapper, name, body), migration.released[:1]
        by_hand = sql / migration.rollback if migration.rollback else None
        if by_hand is None and (statement := cannot_undo(files)):
            raise BuildError(f"{statement}: give {name} a rollback in the manifest that takes this back")
        if before is None and by_hand:
            back = by_hand.read_text(encoding="utf-8")
        else:
            first = f"{in_plpgsql(by_hand)}\n\n" if by_hand else ""
            body = first + "\n".join(drops(files, earlier)) + "\n"
            back = f"-- Takes back {name}. Built from sql/ by bin/build; change it there.\n\n"
            back += fill(sql / "wrapper" / "rollback.sql", name, body)
        yield f"{name}.rollback.sql", back, migration.released[1:]
        earlier += files
        before = name


def findings(root: Path, *, write: bool) -> Iterator[str]:
    """What is wrong with migrations/; with `write`, what is not as built is written first."""
    sql, folder = root / "sql", root / "migrations"
    wanted = set()
    for name, text, frozen in build(sql):
        wanted.add(name)
        file = folder / name
        found = file.read_bytes() if file.exists() else b""
        if frozen:
            if hashlib.sha256(found).hexdigest() != frozen[0]:
                yield f"migrations/{name}: is released and has changed; put it back, and make a new migration"
        elif found != text.encode():
            if write:
                file.write_text(text, encoding="utf-8", newline="\n")
            else:
                yield f"migrations/{name}: is not what sql/ builds; run bin/build"
    for file in sorted(folder.glob("*.sql")):
        if file.name not in wanted:
            yield f"migrations/{file.name}: stands in no entry of sql/manifest.toml"
    objects, text = root / "python" / "alpha_db" / "objects.csv", listed(folder)
    if objects.read_text(encoding="utf-8") != text:
        if write:
            objects.write_text(text, encoding="utf-8", newline="\n")
        else:
            yield "python/alpha_db/objects.csv: is not what migrations/ makes; run bin/build"
    named = [file for m in read_manifest(sql) for file in (*m.files, *filter(None, [m.rollback]))]
    for path in sorted(sql.glob("*/*.sql")):
        name = path.relative_to(sql).as_posix()
        if path.parent.name != "wrapper" and name not in named:
            yield f"sql/{name}: stands in no entry of sql/manifest.toml"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if len(line) > LONGEST_LINE:
                yield f"sql/{name}:{number}: {len(line)} columns, and {LONGEST_LINE} are the most"


def main(arguments: list[str]) -> int:
    """Build, or only check; 1 if there are findings."""
    if arguments not in ([], ["--check"]):
        print("usage: bin/build [--check]", file=sys.stderr)
        return 2
    try:
        found = list(findings(ROOT, write=not arguments))
    except BuildError as problem:
        found = [str(problem)]
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
