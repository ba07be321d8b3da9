"""The error of this subpackage."""

from __future__ import annotations

from alpha_db.errors import AlphaDbError


class EmbeddedError(AlphaDbError):
    """The embedded PostgreSQL could not be found, made, started or stopped."""
