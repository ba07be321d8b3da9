"""The HTML file: its head, what it may do (Content-Security-Policy), its styles, its data and its scripts."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from alpha_db.pages.resources import read_resource
from alpha_db.pages.tree import Node, element, markup

_ID = re.compile(r"[a-z][a-z-]*")
_IN_JSON = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}


def document(
    title: str,
    body: Sequence[Node],
    *,
    scripts: Sequence[str] = (),
    styles: Sequence[str] = (),
    data: Mapping[str, Any] | None = None,
    sign: Callable[[str], Any] | None = None,
) -> bytes:
    """Return a page as one HTML file in UTF-8 that loads nothing and sends nothing.

    The scripts run in this order, after the body is there. The styles follow base.css. `data` are values that JSON
    has (no bytes, no dates), by the id under which the function dataOf() of status.js finds them. The same arguments
    give the same bytes.

    A page that calls verifyPage() of status.js turns red when any of this is changed: it compares what the browser
    read with the page's seal, a SHA-256. Only signatures find somebody who writes another seal, too. `sign` takes the
    seal in hex and returns what stands beside it, as data with the id seal-note, which the seal cannot cover.

    Raises ValueError for a script or a style that would end its own element, and for data that JSON has not.
    """
    styles = [read_resource("alpha_db.pages", "base.css"), *styles]
    for text in (*scripts, *styles):
        _refuse_end(text)
    head = [
        markup(element("meta", charset="utf-8")),
        markup(element("meta", http_equiv="Content-Security-Policy", content=_policy(scripts, styles))),
        markup(element("meta", name="viewport", content="width=device-width, initial-scale=1")),
        markup(element("meta", name="referrer", content="no-referrer")),
        markup(element("meta", name="color-scheme", content="light")),
        markup(element("title", title)),
        *(f"<style>{style}</style>" for style in styles),
    ]
    inner = [*map(markup, body), *(_block(name, value) for name, value in (data or {}).items())]
    seal = hashlib.sha256("".join([*head, *inner]).encode()).hexdigest()  # checkSeal() of status.js compares
    parts = ["<!DOCTYPE html>", '<html lang="en">', "<head>", *head, "</head>", "<body>", *inner]
    parts += [
        _block("seal", seal),
        *([_block("seal-note", sign(seal))] if sign else []),
        *(f"<script>{script}</script>" for script in scripts),
        "</body>",
        "</html>",
    ]
    return ("\n".join(parts) + "\n").encode()


def _policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Nothing but these scripts and styles, and images that stand in the file."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hashes(scripts)}",
            f"style-src {_hashes(styles)}",
            "img-src data:",
            "connect-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _hashes(texts: Sequence[str]) -> str:
    return " ".join(f"'sha256-{_sha256(text)}'" for text in texts) or "'none'"


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _refuse_end(text: str) -> None:
    # A browser hashes what it read: carriage returns would be other bytes there.
    if any(end in text.lower() for end in ("</script", "</style", "<!--", "\r", "\0")):
        raise ValueError("a script or a style of a page must not end its own element")


def _block(name: str, value: Any) -> str:
    """Return data as a block that no browser runs. It is ASCII, so nothing hides in it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":")).translate(_IN_JSON)
    if not _ID.fullmatch(name):
        raise ValueError(f"{name!r} is no id of a data block")
    return f'<script type="application/json" id="{name}">{text}</script>'
