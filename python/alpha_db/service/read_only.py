"""Where nothing can be written, said before anybody is asked anything."""

from __future__ import annotations

from alpha_db.errors import ReadOnlyServer
from alpha_db.installation import Place


def refusal(place: Place) -> ReadOnlyServer:
    """Return the error that nothing can be written here: a standby, or else a read-only session."""
    what, hint = (
        ("server is a standby", "connect to the primary")
        if place.in_recovery
        else (
            "session is read-only",
            "connect to the primary, or let this server write: default_transaction_read_only is on",
        )
    )
    return ReadOnlyServer(f"nothing can be written here: this {what}", hint=hint, sqlstate="25006")
