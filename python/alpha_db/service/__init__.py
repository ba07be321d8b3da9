"""For an application that runs for long and writes much: many rows at once, retries, a pool of connections."""

from alpha_db.service.many import append_many, record_many
from alpha_db.service.pools import pool
from alpha_db.service.retry import retrying

__all__ = ["append_many", "pool", "record_many", "retrying"]
