"""Whether enough witnesses cosigned a checkpoint, as a policy demands. Source: c2sp.org/tlog-policy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from alpha_db.evidence.offline_check import (
    Key,
    Policy,
    Refused,
    Unreadable,
    open_note,
    shown_seconds,
    witnessed,
)
from alpha_db.security.ed25519 import verify


def cosigners(notes: Iterable[str], policy: Policy) -> dict[str, str]:
    """Return who of a policy's witnesses cosigned, with the time; takes all notes of one checkpoint.

    A signature that does not hold does not count, and takes nothing from the others.
    """
    found: dict[str, int] = {}
    for note in notes:
        text, _, lines = note.removesuffix("\n").rpartition("\n\n")
        for line in lines.split("\n"):
            try:
                times = witnessed(f"{text}\n", [line], policy, verify).times
            except (Refused, Unreadable):
                continue
            found |= {name: min(time, found.get(name, time)) for name, time in times.items()}
    return {name: shown_seconds(time) for name, time in found.items()}


def merged_note(notes: Sequence[str], keys: Sequence[Key], policy: Policy | None) -> str:
    """Return a checkpoint's note with all signatures that hold: of trusted logs, and of a policy's witnesses.

    Takes its notes. What others added to them is left out, because it would be carried on into proofs and tiles.
    """
    text = notes[0].removesuffix("\n").rpartition("\n\n")[0] + "\n"
    lines: dict[str, None] = {}
    for note in notes:
        for line in note.removesuffix("\n").rpartition("\n\n")[2].split("\n"):
            try:
                if not (policy and witnessed(text, [line], policy, verify).times):
                    open_note(f"{text}\n{line}\n", keys, verify)
                lines[line] = None
            except (Refused, Unreadable):
                continue
    return f"{text}\n" + "".join(f"{line}\n" for line in lines)


def require_quorum(notes: Iterable[str], policy: Policy | None) -> dict[str, str]:
    """Return who cosigned, nobody without a policy. Raises Refused if that is no quorum."""
    if policy is None:
        return {}
    found = cosigners(notes, policy)
    if not policy.is_met(found):
        who = ", ".join(found) or "none of the policy's witnesses"
        raise Refused(f"it is not cosigned by the quorum {policy.quorum}: cosigned by {who}")
    return found
