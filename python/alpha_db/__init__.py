"""alpha-db: a tamper-evident audit log in PostgreSQL. The logic is SQL; this package is a thin layer."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from alpha_db import errors
from alpha_db.connection import connect
from alpha_db.errors import AlphaDbError, translate
from alpha_db.writers import (
    append_ai_debate,
    append_order,
    append_order_event,
    append_signal,
    record_ai_debate,
    record_order,
    record_order_event,
    record_signal,
)

try:
    __version__ = version("alpha-db")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"

__all__ = [
    "AlphaDbError",
    "__version__",
    "append_ai_debate",
    "append_order",
    "append_order_event",
    "append_signal",
    "connect",
    "errors",
    "record_ai_debate",
    "record_order",
    "record_order_event",
    "record_signal",
    "translate",
]
