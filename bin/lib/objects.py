"""The list of what the migrations make, by which the package knows a name for ours: python/alpha_db/objects.csv."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

ROUTINE = re.compile(
    r"^create (?:or replace )?(?:function|procedure) (\w+)\s*\((.*?)\)\s*(?:returns\b|language\b)",
    re.DOTALL | re.M,
)
RELATION = re.compile(
    r"^create (?:or replace |unlogged )?(table|view|domain|type|sequence) (?:if not exists )?(\w+)", re.M
)
# what SQL makes with format(): nobody is told that one of these is missing
IN_A_STRING = re.compile(r"^\s*execute format\('create (?:table|view) (\w+)", re.M)
COMMENT = re.compile(r"--.*|/\*.*?\*/")


def listed(migrations: Path) -> str:
    """Return a line for each object, in the order in which the migrations of a directory make them."""
    found: dict[str, list[str]] = {}
    for file in sorted(migrations.glob("*.sql")):
        if file.name.endswith(".rollback.sql"):
            continue
        text, migration = file.read_text(encoding="utf-8"), file.name.removesuffix(".sql")
        for kind, name in RELATION.findall(text):
            found.setdefault(name, [name, "table" if kind in ("table", "view") else kind, migration, ""])
        for name in IN_A_STRING.findall(text):
            found.setdefault(name, [name, "made", migration, ""])
        for name, given in ROUTINE.findall(text):
            first = found.setdefault(name, [name, "routine", migration, ""])
            first[3] = arguments(given)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["name", "kind", "migration", "arguments"])
    writer.writerows(found.values())
    return stream.getvalue()


def arguments(text: str) -> str:
    """Return the arguments that a caller gives: name, type, and "default" behind those that may be left out."""
    plain = re.sub(r"\([^()]*\)", "", COMMENT.sub("", text))
    found = []
    for one in plain.split(","):
        words = one.split()
        if words[:1] in (["inout"], ["variadic"], ["in"]):
            words = words[1:]
        if len(words) < 2 or words[0] in ("money_type", "out"):
            continue
        declared, _, default = " ".join(words[1:]).partition(" default ")
        name = words[0].strip('"')
        found.append(f"{name} {declared.strip()}{' default' if default else ''}")
    return ", ".join(found)
