"""Recomputing a chain without the database's help: plain SELECTs in, hashes by hashlib.

Shares no code with the SQL side: it prints row_data itself, as docs/chain-format.md describes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row
from psycopg.types.string import TextLoader

_NUMBERS = {"int2", "int4", "int8", "numeric", "float4", "float8"}
_VERBATIM = {"json", "jsonb"}
_TIMES = {"timestamp", "timestamptz"}
_STRINGS = {"text", "varchar", "bpchar", "uuid", "inet", "cidr", "date", "bytea", "interval"}
_TYPES = _NUMBERS | _VERBATIM | _TIMES | _STRINGS | {"bool"}

_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[^\s"\[\]{},:]++|[\[\]{},:]', re.DOTALL)
_TIMESTAMP = re.compile(r"(\S+) ([\d:.]+)(\+00)?( BC)?", re.ASCII)
_NO_TIMES = ("null", '"infinity"', '"-infinity"')
_SETTINGS = "timezone=UTC datestyle=ISO bytea_output=hex extra_float_digits=1 intervalstyle=postgres"


class Broken(NamedTuple):
    """The first place where a chain does not hold; the hashes are None where a row is missing."""

    id: int
    reason: str
    expected_hash: str | None = None
    actual_hash: str | None = None


@dataclass(frozen=True)
class Recomputed:
    """What `recompute` read: how many rows hold, the hash of the last of them, the first broken place."""

    rows: int
    head: str
    broken: Broken | None


class _Epoch(NamedTuple):
    from_id: int
    columns: list[str]
    older_values: str


def genesis(table: str) -> str:
    """Return the previous hash of a table's row 1, in hex. Source: docs/chain-format.md."""
    return sha256(f"alpha-db/chain/v1/{table}".encode()).hexdigest()


def row_hash(previous: str, row_data: str) -> str:
    """Return the hash of a row from the hash before it and its row_data. Source: docs/chain-format.md."""
    return sha256(bytes.fromhex(previous) + row_data.encode()).hexdigest()


def recompute(conn: psycopg.Connection[Any], table: str, after: tuple[int, str] | None = None) -> Recomputed:
    """Read a chained table of the schema that search_path names, and recompute every hash of it.

    Of a table whose first rows are archived, take the id and the hash of the last row of their segment. Stops at the
    first place that does not hold. Rows are streamed; the caller's transaction and settings stay as they were. Raises
    psycopg.Error if something cannot be read, ValueError for a column whose type has no stable text, and KeyError for a
    hashed column that is gone. Source: docs/chain-format.md.
    """
    start, head = after or (0, genesis(table))
    rows, moment = start, datetime.min
    name = f"chain of {table}"
    with conn.transaction(force_rollback=True), conn.cursor(name, row_factory=tuple_row) as cursor:
        for setting in _SETTINGS.split():
            conn.execute("select set_config(%s, %s, true)", setting.split("="))
        stream = _stream(cursor, table)
        # Read after the rows' snapshot was taken: every list of columns that hashed one of them is here.
        found = conn.cursor(row_factory=tuple_row).execute(
            "select from_id, column_names, older_values::text from only chain_columns where table_name = %s"
            " order by from_id, id", [table])  # fmt: skip
        epochs = [_Epoch(*entry) for entry in found]
        for row in stream:
            row_id, stored = int(row["id"]), json.loads(row["row_hash"])
            expected, reason, written = row_hash(head, _row_data(row, epochs)), "", _moment(row["created_at"])
            if row_id > rows + 1:
                return Recomputed(rows - start, head, Broken(rows + 1, "row is missing"))
            if row_id <= rows:
                reason = "row stands before the first, or twice"
            elif stored != expected:
                reason = "row or its link does not give its hash"
            elif not _older_values_hold(row, epochs):
                reason = "row was changed in a column that was added after it"
            elif written < moment or row["created_at"] in _NO_TIMES:
                reason = "row is older than the row before it, or has no time"
            if reason:
                return Recomputed(rows - start, head, Broken(row_id, reason, expected, stored))
            head, rows, moment = stored, row_id, written
    return Recomputed(rows - start, head, None)


def _stream(cursor: psycopg.ServerCursor[Any], table: str) -> Iterator[dict[str, str]]:
    """The rows of a table in id order, every value as JSON text."""
    cursor.itersize = 1000
    types = cursor.adapters.types
    # What the server prints, not what Python makes of it: 1.50 stays 1.50.
    for name in _TYPES:
        cursor.adapters.register_loader(types[name].oid, TextLoader)
    cursor.execute(sql.SQL("select * from only {} order by id").format(sql.Identifier(table)))
    kinds = {}
    for column in cursor.description or ():
        info = types.get(column.type_code)  # of an array: its element's
        if info is None or info.name not in _TYPES:
            raise ValueError(f"{table}.{column.name} is of a type that has no stable text")
        kinds[column.name] = info.name
    return ({n: _json(v, kinds[n]) for n, v in zip(kinds, row, strict=True)} for row in cursor)


def _row_data(row: Mapping[str, str], epochs: list[_Epoch]) -> str:
    # A row below the first entry, which only force can make, is hashed like the oldest ones.
    mine = [epoch for epoch in epochs if epoch.from_id <= int(row["id"])] or epochs[:1]
    return "{" + ",".join(f"{_string(name)}:{row[name]}" for name in mine[-1].columns) + "}"


def _older_values_hold(row: Mapping[str, str], epochs: list[_Epoch]) -> bool:
    later = [_members(epoch.older_values) for epoch in epochs if epoch.from_id > int(row["id"])]
    return all(_is_same(row[name], value) for older in later for name, value in older.items() if name in row)


def _json(value: Any, kind: str) -> str:
    """Print a value, given as the server's text (a list of them for an array), as row_to_json does."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return "[" + ",".join(_json(item, kind) for item in value) + "]"
    if kind == "bool":
        return "true" if value == "t" else "false"
    if kind in _VERBATIM or (kind in _NUMBERS and _JSON_NUMBER.fullmatch(value)):
        return str(value)
    if kind in _TIMES and (parts := _TIMESTAMP.fullmatch(value)):
        day, time, zone, era = parts.groups("")
        return _string(f"{day}T{time}{zone and '+00:00'}{era}")
    return _string(value)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _members(text: str) -> dict[str, str]:
    """The members of a JSON object, each value as it stands there, however deep or long it is."""
    found, depth, name, start = {}, 0, "", 0
    for token in _TOKEN.finditer(text):
        if token[0] in "}]":
            depth -= 1
        if depth == 1 and token[0] == ":":
            name, start = json.loads(text[start : token.start()]), token.end()
        elif depth == 0 or (depth == 1 and token[0] == ","):
            if name:
                found[name] = text[start : token.start()]
            start = token.end()
        if token[0] in "{[":
            depth += 1
    return found


def _is_same(one: str, other: str) -> bool:
    if _tokens(one) == _tokens(other):
        return True
    try:
        return bool(
            _parse(one) == _parse(other)
        )  # the members of json, unlike those of jsonb, are in any order
    except RecursionError:
        return False


def _tokens(text: str) -> list[str]:
    tokens = _TOKEN.findall(text)
    return [format(Decimal(one), "f") if _JSON_NUMBER.fullmatch(one) else one for one in tokens]


def _parse(text: str) -> Any:
    """JSON whose numbers compare by the digits that jsonb prints: 1, 1.0 and true are all different."""

    def number(digits: str) -> tuple[str, str]:
        return "number", format(Decimal(digits), "f")

    return json.loads(text, parse_float=number, parse_int=number)


def _moment(created_at: str) -> datetime:
    try:
        return datetime.fromisoformat(json.loads(created_at)).replace(tzinfo=None)
    except (TypeError, ValueError):
        return datetime.min  # infinity and the like, which no server clock gives
