"""Whether a block printed what the page says, whatever ids, hashes and times came out."""

from __future__ import annotations

import re

_VARIES = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "UUID"),
    (re.compile(r"\b[0-9a-f]{32,128}\b"), "HASH"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:\d\d)?)?"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? (ms|s)\b"), "DURATION"),
    (re.compile(r"[ \t]+$", re.M), ""),
)


def normal(text: str) -> str:
    """The text with words for what is another at each run."""
    for pattern, word in _VARIES:
        text = pattern.sub(word, text)
    return text.strip("\n")


def is_as_said(said: str, printed: str) -> bool:
    """Whether the page's text fits: `…` stands for anything in a line, and alone for any number of lines."""
    pattern = ""
    for line in normal(said).splitlines():
        if line.strip() == "…":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += "[^\n]*".join(re.escape(part) for part in line.split("…")) + "\n"
    return re.fullmatch(pattern, f"{normal(printed)}\n") is not None
