"""Self-contained HTML pages: one file, no network, everything from the database escaped in one place."""

from alpha_db.pages.document import document
from alpha_db.pages.resources import read_resource, shared_scripts
from alpha_db.pages.tree import Element, Node, element, markup, picture, state, verification, visible

__all__ = [
    "Element",
    "Node",
    "document",
    "element",
    "markup",
    "picture",
    "read_resource",
    "shared_scripts",
    "state",
    "verification",
    "visible",
]
