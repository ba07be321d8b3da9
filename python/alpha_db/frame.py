"""The one shape of every command's JSON answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MEMBERS = ("ok", "exit_code", "result", "error")


def frame(result: object, exit_code: int, error: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the answer of a command: its result, its exit code and, if it failed, the error."""
    return dict(zip(MEMBERS, (exit_code == 0, exit_code, result, error), strict=True))
