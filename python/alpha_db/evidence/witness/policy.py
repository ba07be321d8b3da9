"""Reading the file that says whose signatures make a checkpoint valid. Source: c2sp.org/tlog-policy."""

from __future__ import annotations

import os

from alpha_db.errors import EXIT_DAMAGE, AlphaDbError, NotThere
from alpha_db.evidence.offline_check import MAX_NOTE, Policy, Refused, Unreadable, parse_policy, read_text
from alpha_db.evidence.offline_check import NotThere as NoFile

#: So many cosignatures and more fit into a note: readers take 100 signatures of one at most.
MAX_WITNESSES = 64


class PolicyError(AlphaDbError):
    """A policy cannot be read, or is none."""


class WeakPolicy(PolicyError):  # noqa: N818
    """A key in a policy is weak: anyone could sign for it."""

    exit_code = EXIT_DAMAGE


def load_policy(path: str | os.PathLike[str]) -> Policy:
    """Read a policy from a file. Raises NotThere, PolicyError, WeakPolicy."""
    shown = os.fspath(path)
    try:
        policy = parse_policy(read_text(path, MAX_NOTE))
    except NoFile as problem:
        raise NotThere(f"{shown}: {problem}") from None
    except Refused as problem:
        raise WeakPolicy(f"{shown}: {problem}") from None
    except (Unreadable, ValueError) as problem:
        said = problem if isinstance(problem, Unreadable) else "its name holds a NUL character"
        raise PolicyError(f"{shown}: {said}") from None
    if (count := len(policy.witnesses)) > MAX_WITNESSES:
        raise PolicyError(
            f"{shown}: a policy has {MAX_WITNESSES} witnesses at most, and this one has {count}"
        )
    return policy
