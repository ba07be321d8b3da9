"""The scripts and styles that stand beside a package's Python files."""

from __future__ import annotations

from importlib.resources import files

#: In the order in which they are needed.
_SHARED = ("bytes.js", "ed25519.js", "status.js")


def read_resource(package: str, name: str) -> str:
    """Return the text of a file that is part of a package, such as ("alpha_db.pages", "base.css")."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def shared_scripts() -> list[str]:
    """Return the scripts that every page that verifies needs: bytes, hashes, signatures, and the state on the page."""
    return [read_resource("alpha_db.pages", name) for name in _SHARED]
