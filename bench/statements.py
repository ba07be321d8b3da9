"""The statements that write: one row, many in one statement, and arrays."""

from __future__ import annotations

from bench.contestants import CALL, OURS, PAYLOAD, PGHISTORY, PLAIN, RECORD, SUPA, TABLES, USUAL

COLUMNS = "signal_id, symbol, side, price, quantity, raw_payload"
#: What stands behind signal_id in a row of any of them.
CONTENT = f"'ETHBTC', 'BUY', 0.0712340000, 1.5000000000, '{PAYLOAD}'"

#: Rows of one INSERT ... VALUES, from as many texts as a client would send; and those of an array.
VALUES, FROM_ARRAY = "plain table, VALUES", "plain table, from an array"
RECORD_MANY, CALL_MANY = "ours, record_signals", "ours, CALL append_signals"

_ROW = f"gen_random_uuid()::text, {CONTENT}"
_STORED = "id, correlation_id, row_hash"
_MEMBERS = "signal_id text, symbol text, side text, price numeric, quantity numeric, raw_payload jsonb"

#: One row, by each contestant.
ALONE = {
    contestant: f"insert into {TABLES[contestant]} ({COLUMNS}) values ({_ROW}) returning {_STORED}"
    for contestant in (PLAIN, USUAL, SUPA, PGHISTORY, OURS)
} | {
    RECORD: f"select {_STORED}, is_new from record_signal({_ROW})",
    CALL: f"call append_signal({_ROW})",
}


def insert(contestant: str, rows: int) -> str:
    """Return one statement that inserts so many rows."""
    return (
        f"insert into {TABLES[contestant]} ({COLUMNS})"
        f" select gen_random_uuid()::text, {CONTENT} from generate_series(1, {rows})"
    )


def insert_values(rows: int) -> str:
    """Return an INSERT of so many rows into the plain table, whose :k is to become a text that never came before.

    The payloads are parsed at each call, as those of an array are.
    """
    head, tail = PAYLOAD.split("long-5x20")
    payload = f"('{head}' || :k::text || '{tail}')::jsonb"
    values = (
        f"(:k::text || '-{number}', 'ETHBTC', 'BUY', 0.0712340000, 1.5000000000, {payload})"
        for number in range(rows)
    )
    return f"insert into plain_signals ({COLUMNS}) values {', '.join(values)} returning {_STORED}"


def array(rows: int) -> str:
    """Return an array of signals as JSON, with ~ where a text belongs that never came before."""
    payload = PAYLOAD.replace("long-5x20", "~")
    rest = '"symbol": "ETHBTC", "side": "BUY", "price": 0.0712340000, "quantity": 1.5000000000'
    elements = (f'{{"signal_id": "~-{n}", {rest}, "raw_payload": {payload}}}' for n in range(rows))
    return f"[{', '.join(elements)}]"


def insert_array(contestant: str, given: str) -> str:
    """Return an INSERT of the elements of an array, which stands in the statement as `given`."""
    return (
        f"insert into {TABLES[contestant]} ({COLUMNS})"
        f" select {COLUMNS} from jsonb_to_recordset({given}) as r({_MEMBERS}) returning {_STORED}"
    )


def record_array(given: str) -> str:
    """Return a call of record_signals."""
    return f"select {_STORED}, is_new from record_signals({given})"


def call_array(given: str) -> str:
    """Return a CALL of append_signals."""
    return f"call append_signals({given})"


def arrays(rows: int) -> dict[str, str]:
    """Return, for each way to write so many rows at once, its statement with :k for a text that never came before."""
    given = f"replace('{array(rows)}', '~', :k::text)::jsonb"
    return {
        VALUES: insert_values(rows),
        FROM_ARRAY: insert_array(PLAIN, given),
        RECORD_MANY: record_array(given),
        CALL_MANY: call_array(given),
    }
