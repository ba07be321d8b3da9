"""Keys pinned in a local file: what the database says of agents is then compared with it, not believed.

The file is a JSON object: the agent_id of every agent of the bootstrap, with its public key in hex; further
agents may stand there too, and "origin", the identity of the installation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alpha_db.errors import AlphaDbError, FileUnreadable, NotThere, shorten
from alpha_db.security.payloads import key_of
from alpha_db.security.reading import read_answer
from alpha_db.security.replay import Keys
from alpha_db.security.signed_text import UUID_TEXT


class PinsError(AlphaDbError):
    """The file of pinned keys is missing, unreadable, or says something that is no pin."""


class PinsNotThere(PinsError, NotThere):  # noqa: N818
    """There is no file of pinned keys of that name."""


@dataclass(frozen=True)
class Pins:
    """Pinned keys by agent, and the installation they are for, if that is pinned as well."""

    keys: Keys
    origin: str | None = None


def load_pins(path: Path | str) -> Pins:
    """Read a file of pinned keys. Raises PinsError."""
    try:
        said = read_answer(path)
        if not isinstance(said, dict):
            raise ValueError("it is not an object")
        origin = said.pop("origin", None)
        if origin is not None and not (isinstance(origin, str) and UUID_TEXT.fullmatch(origin)):
            raise ValueError("origin is not a uuid")
        if wrong := [agent for agent in said if not UUID_TEXT.fullmatch(agent)]:
            raise ValueError(f"not an agent_id: {shorten(wrong[0], 60)}")
        keys = {agent: key_of(key) for agent, key in said.items()}
        if not keys or len(set(keys.values())) != len(keys):
            raise ValueError("it pins no key, or one key twice")
    except NotThere as problem:
        raise PinsNotThere(f"cannot read the pinned keys: {problem.message}") from None
    except FileUnreadable as problem:
        said = problem.message.replace(f"{path} is ", "it is ", 1)
        raise PinsError(f"{path} does not pin keys: {said}", hint=problem.hint) from None
    except ValueError as problem:
        raise PinsError(f"{path} does not pin keys: {problem}") from None
    return Pins(keys, origin)
