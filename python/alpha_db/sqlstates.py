"""What to do about the errors that PostgreSQL itself raises: a HINT for those that bring none, and their columns.

Plain facts; errors.py uses them, docs/errors.md tells them, and tests compare.
"""

from __future__ import annotations

import re

#: SQLSTATE: what to do. Each has a section in docs/errors.md.
HINTS = {
    "08001": "Look at host and port in the DSN, and whether a server runs there and can be reached from here.",
    "08003": "Open another connection.",
    "08006": "Connect again, and run the transaction again: what was not committed is not stored.",
    "22001": "Send a shorter value.",
    "22003": "Send a number that the column can hold.",
    "22021": "Send text that is UTF-8 and has no NUL character.",
    "22P02": "Send the value as its column's type writes it: JSON, a uuid, a number, an address.",
    "22P05": "Leave the character out or replace it: a jsonb text holds no NUL (\\u0000).",
    "23502": "Give the value.",
    "23503": "Record the row that is referred to first.",
    "23505": "Use another key, or record_signal, which takes a retry as what it is.",
    "23514": "Send a value that the rule allows.",
    "25006": "Connect to the primary, in a transaction that may write.",
    "25P02": "Roll the transaction back; the error before this one says why.",
    "25P03": "Run the transaction again, without pauses in it.",
    "26000": "Turn prepared statements off behind a pooler: prepare_threshold=None.",
    "28000": "Look at the user, and at pg_hba.conf on the server.",
    "28P01": "Give the right password: in the DSN, PGPASSWORD or ~/.pgpass.",
    "2D000": "Call append_* outside a transaction, on a connection in autocommit; inside one use record_*.",
    "3D000": "Name a database that exists, or make it: createdb NAME.",
    "40001": "Run the transaction again.",
    "40P01": "Run the transaction again; take the order signals, ai_debates, order_execution, order_events.",
    "42804": "Cast the value to the type that the argument has.",
    "42P05": "Turn prepared statements off behind a pooler: prepare_threshold=None.",
    "53100": "Make room on the server's disk.",
    "53200": "Give the server more memory, or send less at once.",
    "53300": "Close connections, or raise max_connections or the role's CONNECTION LIMIT.",
    "54000": "Send less at once: keep the long value outside, and record its SHA-256.",
    "54001": "Send JSON that is nested less deeply.",
    "55P03": "Try again when the transaction that holds the lock has ended: select * from lock_holders().",
    "57014": "Try again, with a longer statement_timeout if that ended it.",
}

#: CHECK of a table that applications write: its column, and what it allows.
RULES = {
    "signals_signal_id_is_given": ("signal_id", "signal_id is a text that is not blank."),
    "signals_symbol_is_given": ("symbol", "symbol is a text that is not blank."),
    "signals_side_is_known": ("side", "side is BUY or SELL."),
    "signals_price_is_positive": ("price", "price is above 0."),
    "signals_quantity_is_positive": ("quantity", "quantity is above 0."),
    "ai_debates_model_name_is_given": ("model_name", "model_name is a text that is not blank."),
    "ai_debates_confidence_score_is_share": ("confidence_score", "confidence_score is from 0 to 1."),
    "ai_debates_timeout_has_no_confidence": (
        "confidence_score",
        "confidence_score is 0 if is_timeout is true.",
    ),
    "ai_debates_elapsed_ms_is_not_negative": ("elapsed_ms", "elapsed_ms is 0 or more."),
    "order_execution_order_type_is_known": (
        "order_type",
        "order_type is one of the types in docs/sql-api.md.",
    ),
    "order_execution_symbol_is_given": ("symbol", "symbol is a text that is not blank."),
    "order_execution_side_is_known": ("side", "side is BUY or SELL."),
    "order_execution_quantity_is_positive": ("quantity", "quantity is above 0."),
    "order_execution_price_is_positive": ("price", "price is above 0."),
    "order_execution_market_has_no_price": (
        "price",
        "A MARKET order has no price; every other order has one.",
    ),
    "order_execution_status_is_known": ("status", "status is one of the states in docs/sql-api.md."),
    "order_events_event_type_is_known": ("event_type", "event_type is one of the types in docs/sql-api.md."),
    "order_events_fill_quantity_is_positive": ("fill_quantity", "fill_quantity is above 0."),
    "order_events_fill_price_is_positive": ("fill_price", "fill_price is above 0."),
    "order_events_positions_closed_is_array": ("positions_closed", "positions_closed is a JSON array."),
    "order_events_fill_is_complete": ("fill_quantity", "A fill has fill_quantity and fill_price."),
    "order_events_kill_switch_is_complete": (
        "positions_closed",
        "A KILL_SWITCH has zar_equity and positions_closed.",
    ),
    "order_events_rejection_has_reason": ("rejection_reason", "A REJECTED event has a rejection_reason."),
}

# libpq gives no SQLSTATE for what fails while connecting, only the server's words.
_WHILE_CONNECTING = (
    (re.compile(r"password authentication failed|no password supplied"), "28P01"),
    (
        re.compile(
            r"no pg_hba\.conf entry|role .+ (does not exist|is not permitted to log in)|Peer authentication"
        ),
        "28000",
    ),
    (re.compile(r"database .+ does not exist"), "3D000"),
    (re.compile(r"too many (clients|connections)|remaining connection slots"), "53300"),
    (
        re.compile(
            r"the database system is (starting up|shutting down|in recovery)|not (yet )?accepting connections"
        ),
        "57P03",
    ),
    (re.compile(r"permission denied for database"), "42501"),
    (re.compile(r"the connection is (closed|lost)"), "08003"),
    (
        re.compile(
            r"^(?!connection (failed|is bad)).*(server closed the connection|could not (receive|send) data)"
        ),
        "08006",
    ),
)

# 08001 is said of all that fails before a server answers.
_BEFORE_AN_ANSWER = (
    (
        re.compile(r"invalid connection option"),
        "Use an option of libpq (host, port, dbname, user, password, sslmode ...), or autocommit, row_factory,"
        " cursor_factory, prepare_threshold or context.",
    ),
    (
        re.compile(r"resolve host|translate host|Name or service|no host has"),
        "Look at the host's name in the DSN, and whether this machine can resolve it.",
    ),
    (
        re.compile(r"definition of service"),
        "Name a service of ~/.pg_service.conf, or of the file in PGSERVICEFILE.",
    ),
    (
        re.compile(r"^connection is bad: invalid |invalid \w+ value:|bad value for|could not (parse|match)"),
        "Write the DSN's options as libpq takes them.",
    ),
)
_ERRNO = re.compile(r"\[Errno -?[0-9]+\] ")


def state_while_connecting(message: str) -> str:
    """Return the SQLSTATE of a failed connection from the server's words; 08001 if they are none of the usual."""
    return next((state for words, state in _WHILE_CONNECTING if words.search(message)), "08001")


def hint_while_connecting(message: str) -> str | None:
    """Return what to do about a failed connection, from the words that it failed with."""
    state = state_while_connecting(message)
    if state == "08001":
        return next((hint for words, hint in _BEFORE_AN_ANSWER if words.search(message)), HINTS[state])
    return HINTS.get(state)


def without_number(message: str) -> str:
    """Return the message without the number that Python puts in front of what the operating system says."""
    return _ERRNO.sub("", message)


def column_of(constraint: str | None, table: str | None) -> str | None:
    """Return the column that a constraint of ours is about, as far as its name says it."""
    if constraint is None:
        return None
    if constraint in RULES:
        return RULES[constraint][0]
    found = re.fullmatch(rf"{re.escape(table or '')}_(\w+?)_(?:key|fkey|is_\w+|bounds)", constraint)
    return found[1] if found else None
