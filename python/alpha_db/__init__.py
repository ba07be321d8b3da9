"""alpha-db: a tamper-evident audit log in PostgreSQL. The logic is SQL; this package is a thin layer."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from alpha_db import errors
from alpha_db.connection import connect
from alpha_db.errors import AlphaDbError, translate
from alpha_db.writers import (
    append_ai_debate,
    append_order,
    append_order_event,
    append_signal,
    append_webhook,
    record_ai_debate,
    record_order,
    record_order_event,
    record_signal,
    record_webhook,
)

if TYPE_CHECKING:
    from alpha_db.service import append_many, pool, record_many, retrying

try:
    __version__ = version("alpha-db")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"

__all__ = [
    "AlphaDbError",
    "__version__",
    "append_ai_debate",
    "append_many",
    "append_order",
    "append_order_event",
    "append_signal",
    "append_webhook",
    "connect",
    "errors",
    "pool",
    "record_ai_debate",
    "record_many",
    "record_order",
    "record_order_event",
    "record_signal",
    "record_webhook",
    "retrying",
    "translate",
]


def __getattr__(name: str) -> Any:
    """Return what is in the package beside the core, and is loaded when it is asked for."""
    if name in __all__:
        return getattr(importlib.import_module("alpha_db.service"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
