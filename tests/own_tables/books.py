"""Tables of users, and how the tests put them under the chain."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.support import Connection, one, query, quote

#: A name that needs quoting everywhere: SQL, format(), templates, rich, file names.
HOSTILE_NAME = "We [b]ird\" 100% {a:I} ü'"
TRADES = "create table trades (ref text primary key, price numeric(12,2), note varchar(10))"
#: A column of every type that can be hashed, with a value whose text depends on settings, or is long.
TYPES = {
    "int2": "-32768", "int4": "2147483647", "int8": "-9223372036854775808", "numeric": "1.50",
    "numeric(12,4)": "0.1000", "decimal_28_10": "1.5", "float4": "0.1", "float8": "0.30000000000000004",
    "bool": "true", "text": "ü\n\"\\ ", "varchar": "a", "varchar(20)": "b ", "char(5)": "c",
    "bytea": "\\x00ff", "uuid": "00000000-0000-0000-0000-000000000001", "json": '{"b": 1.0,  "a": [1]}',
    "jsonb": '{"b": 1.10, "a": [1]}', "inet": "10.0.0.1/8", "cidr": "10.0.0.0/8", "date": "2026-01-02",
    "timestamp": "2026-01-02 03:04:05.6", "timestamptz": "2026-01-02 03:04:05.6+02", "interval": "1 mon -2 days",
    "int4[]": "{1,NULL,3}", "text[][]": '{{a,"b c"},{d,e}}', "timestamptz[]": '{"2026-01-02 03:04:05+02"}',
    "numeric[]": "{1.50,NaN}",
}  # fmt: skip


def chain(connection: Connection, table: str, **arguments: Any) -> int:
    """Call chain_table; gives how many rows were taken in."""
    call = ", ".join(f"{name} => %({name})s" for name in ("table_name", *arguments))
    return int(one(connection, f"select chain_table({call})", {"table_name": table, **arguments}))


def rows_of(connection: Connection, table: str) -> list[dict[str, Any]]:
    """Every row of a table, by id."""
    return query(connection, f"select * from {quote(table)} order by id")


def chain_holds(connection: Connection, table: str) -> bool:
    """Whether the hashes follow from the rows' texts, computed here."""
    link = hashlib.sha256(f"alpha-db/chain/v1/{table}".encode()).digest()
    for row in query(connection, "select id, row_data, row_hash from chain_rows(%s) order by id", [table]):
        link = hashlib.sha256(link + row["row_data"].encode()).digest()
        if link.hex() != row["row_hash"]:
            return False
    return True


def make_all_types(connection: Connection, table: str = "every_type", rows: int = 1) -> None:
    """A table with a column of each type, filled, and a row of nulls."""
    columns = ", ".join(f"c{n} {kind}" for n, kind in enumerate(TYPES))
    query(connection, f"create table {quote(table)} (key integer primary key, {columns})")
    doubled = quote(table).replace("%", "%%")  # psycopg reads a single one
    for number in range(rows):
        places = ", ".join(["%s"] * (len(TYPES) + 1))
        query(connection, f"insert into {doubled} values ({places})", [number, *TYPES.values()])
    query(connection, f"insert into {doubled} (key) values (%s)", [rows])
