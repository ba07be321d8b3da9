"""The one shape of every command's JSON answer, and reading what such an answer holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MEMBERS = ("ok", "exit_code", "result", "error")


def frame(result: object, exit_code: int, error: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the answer of a command: its result, its exit code and, if it failed, the error."""
    return dict(zip(MEMBERS, (exit_code == 0, exit_code, result, error), strict=True))


def unframed(document: Any) -> Any:
    """Return what a file holds: the result, if it is a kept answer of a command, otherwise the document itself.

    Raises ValueError for the answer of a command that failed.
    """
    if not isinstance(document, dict) or set(document) != set(MEMBERS):
        return document
    if document["ok"] is not True:
        raise ValueError("it is the answer of a command that failed")
    return document["result"]
