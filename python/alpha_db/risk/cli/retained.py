"""What proposals about retention say, in words, for the history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alpha_db.security.payloads import segments_of

KINDS = ("archive", "hold", "unhold")


def in_words(kind: str, payload: Any) -> Iterator[str]:
    """Yield what a proposal of one of these kinds does, a line for each table. Raises what a wrong payload raises."""
    if kind == "archive":
        for item in segments_of(payload):
            yield (
                f"{item['table']}: rows up to {item['through_id']} leave the database;"
                f" the segment with SHA-256 {item['segment_sha256']} has them"
            )
    elif kind == "hold":
        yield f"{payload['table']}: rows from {payload['from_id']} on are held"
    elif kind == "unhold":
        yield f"the hold {payload['hold']} ends"
