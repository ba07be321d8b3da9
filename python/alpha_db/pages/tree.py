"""A page as a tree of elements. Texts become HTML in markup(), and nowhere else."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from html import escape
from typing import Literal

from alpha_db.hidden import HIDDEN

# Line feed and tab are layout; every other control character, and what alpha_db.hidden lists, is shown as \uXXXX.
_UNSEEN = re.compile(rf"[\x00-\x08\x0b-\x1f{HIDDEN}]")
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_VOID = frozenset({"br", "col", "hr", "img", "input", "meta", "wbr"})
# What runs, loads, sends, or is read otherwise than it is written: document() alone writes scripts and styles.
_RUNNING = frozenset({"embed", "frame", "iframe", "math", "object", "script", "style", "svg"})
_REFUSED = _RUNNING | {"base", "form", "link", "noscript", "plaintext", "template"}
_SIGNS = {"good": "✓", "bad": "✗", "warn": "!", "unknown": "?"}

State = Literal["good", "bad", "warn", "unknown"]


@dataclass(frozen=True)
class Element:
    """An element of a page. Make one with element(), which checks the names."""

    tag: str
    attributes: tuple[tuple[str, str], ...]
    children: tuple[Node, ...]


#: A text, which may hold anything, or an element.
Node = str | Element


def element(tag: str, *children: Node | None, **attributes: str | int | bool | None) -> Element:
    """Return an element; ``class_`` is class, ``aria_label`` is aria-label, True is an attribute without a value.

    Children and attributes that are None are left out, and attributes that are False. Raises ValueError for what a
    page must not have: scripts, styles, event handlers, links to anywhere but the page itself, and a row of a table
    outside of thead, tbody and tfoot, which browsers add.
    """
    if not _NAME.fullmatch(tag) or tag in _REFUSED:
        raise ValueError(f"a page has no element {tag!r}")
    named = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    for name, value in named.items():
        _check_attribute(name, value)
    kept = [(name, value) for name, value in named.items() if value is not None and value is not False]
    if tag == "table" and any(isinstance(child, Element) and child.tag == "tr" for child in children):
        raise ValueError("a page has rows in thead, tbody and tfoot only")
    return Element(
        tag,
        tuple((name, "" if value is True else str(value)) for name, value in kept),
        tuple(child for child in children if child is not None),
    )


def _check_attribute(name: str, value: object) -> None:
    if not _NAME.fullmatch(name) or name.startswith("on") or name in ("style", "srcdoc", "srcset"):
        raise ValueError(f"a page has no attribute {name!r}")
    if name in ("href", "action", "formaction") and not str(value).startswith("#"):
        raise ValueError("a page links to its own places only")
    if name == "src" and not str(value).startswith("data:image/"):
        raise ValueError("a page loads nothing")


def visible(text: str) -> str:
    r"""Return a text with each character that a reader does not see as \uXXXX: a text from outside cannot hide."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def markup(node: Node) -> str:
    """Return a node as HTML: the one place where a text is escaped."""
    if isinstance(node, str):
        return escape(visible(node))
    head = "".join(f' {name}="{escape(visible(value))}"' for name, value in node.attributes)
    if node.tag in _VOID:
        return f"<{node.tag}{head}>"
    inner = "".join(map(markup, node.children))
    if node.tag in ("pre", "textarea") and inner.startswith("\n"):  # a browser drops the first line feed
        inner = f"\n{inner}"
    return f"<{node.tag}{head}>{inner}</{node.tag}>"


def state(kind: State, said: str, **attributes: str | int | bool | None) -> Element:
    """Return a state as a sign and a word, so that it is read without its colour, too."""
    return element(
        "span",
        element("span", _SIGNS[kind], class_="sign", aria_hidden="true"),
        " ",
        said,
        class_=f"state {kind}",
        **attributes,
    )


def verification() -> Element:
    """Return the line that status.js fills; it says the truth as long as no script has run."""
    return element(
        "p",
        element("span", "?", class_="sign", aria_hidden="true"),
        " ",
        element("span", "Not verified: the script of this page has not run.", class_="said"),
        id="verification",
        role="status",
        class_="state unknown",
    )


def picture(svg: bytes, alt: str, **attributes: str | int | bool | None) -> Element:
    """Return a drawing as an image, in which no script can run. `alt` says in words what it shows."""
    source = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
    return element("img", src=source, alt=alt, **attributes)
