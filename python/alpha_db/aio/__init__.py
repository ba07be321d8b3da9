"""alpha_db for asyncio: the same names, on psycopg.AsyncConnection, to be awaited."""

from alpha_db.aio.connection import connect
from alpha_db.aio.pools import pool
from alpha_db.aio.writers import (
    append_ai_debate,
    append_many,
    append_order,
    append_order_event,
    append_signal,
    append_webhook,
    record_ai_debate,
    record_many,
    record_order,
    record_order_event,
    record_signal,
    record_webhook,
)
from alpha_db.service.retry import aretrying as retrying

__all__ = [
    "append_ai_debate",
    "append_many",
    "append_order",
    "append_order_event",
    "append_signal",
    "append_webhook",
    "connect",
    "pool",
    "record_ai_debate",
    "record_many",
    "record_order",
    "record_order_event",
    "record_signal",
    "record_webhook",
    "retrying",
]
