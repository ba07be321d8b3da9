"""Collecting the cosignatures of one checkpoint: those that are there, and those of witnesses that are asked now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from alpha_db.errors import EXIT_DAMAGE, EXIT_NOT_RUN, EXIT_OK
from alpha_db.evidence.offline_check import Policy, Refused, Unreadable, witnessed
from alpha_db.evidence.witness.ask import PATIENCE, Consistency, Finding, Result, ask
from alpha_db.evidence.witness.request import parse_head
from alpha_db.security.ed25519 import verify


class Collected(NamedTuple):
    """What came of asking the witnesses of a policy."""

    had: dict[str, int]  #: who had cosigned before, by the name in the policy, and when
    findings: list[Finding]  #: what came of asking each of the others that have a URL
    is_met: bool  #: whether those who have cosigned now are a quorum
    note: str | None  #: the note with all cosignatures; None if none is new

    @property
    def has_fork(self) -> bool:
        """Whether a witness says that it cosigned another log."""
        return any(finding.result is Result.FORK for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """1 if a witness says that it cosigned another log, 0 for a quorum, 3 otherwise."""
        if self.has_fork:
            return EXIT_DAMAGE
        return EXIT_OK if self.is_met else EXIT_NOT_RUN


def collect(
    note: str,
    cosigned: Iterable[str],
    policy: Policy,
    consistency: Consistency,
    known: Mapping[str, int],
    timeout: float = PATIENCE,
) -> Collected:
    """Ask every witness of the policy that has not cosigned a checkpoint yet.

    Takes the log's note, the notes with cosignatures of it so far, what proves consistency, and the size that each
    witness is known to have cosigned last. Of the notes so far only cosignatures of this text count that hold.
    """
    text, note = text_of(note), own_note(note)
    lines = _all_lines(text, cosigned, policy)
    had = {name: witnessed(text, [line], policy, verify).times[name] for name, line in lines.items()}
    rest = policy._replace(witnesses=tuple(each for each in policy.witnesses if each.name not in lines))
    findings = ask(note, rest, consistency, known, timeout)
    new = {finding.witness.name: finding.line.removesuffix("\n") for finding in findings if finding.line}
    lines |= new
    return Collected(had, findings, policy.is_met(lines), _composed(note, lines, policy) if new else None)


def merged(notes: Sequence[str], more: str | None, policy: Policy) -> tuple[str | None, bool]:
    """Return a note with all cosignatures, None if one of the notes has them all; and whether they are a quorum.

    Takes the notes of a checkpoint so far, that of the log first, and perhaps another one with new cosignatures.
    """
    text = text_of(notes[0])
    lines = _all_lines(text, [*notes, more] if more else notes, policy)
    if not lines or any(_has_all(note, text, lines, policy) for note in notes):
        return None, policy.is_met(lines)
    return _composed(own_note(notes[0]), lines, policy), policy.is_met(lines)


def last_sizes(cosigned: Iterable[str], policy: Policy) -> dict[str, int]:
    """Return the largest size that each witness of a policy cosigned, as far as these notes tell."""
    sizes: dict[str, int] = {}
    for note in cosigned:
        for name in _lines(note, policy):
            sizes[name] = max(sizes.get(name, 0), parse_head(text_of(note)).size)
    return sizes


def text_of(note: str) -> str:
    """Return the text of a note, "" for what is no note."""
    text, separator, _ = note.removesuffix("\n").rpartition("\n\n")
    return f"{text}\n" if separator else ""


def own_note(note: str) -> str:
    """Return a note with the signatures of its log alone, whose name is the first line of the text."""
    text = text_of(note)
    own = [line for line in _signatures(note) if line.split(" ")[1:2] == [text.partition("\n")[0]]]
    return f"{text}\n{''.join(f'{line}{chr(10)}' for line in own)}"


def _lines(note: str, policy: Policy) -> dict[str, str]:
    """The signature lines of a note that are cosignatures of the policy's witnesses and hold, by name."""
    text = text_of(note)
    found: dict[str, str] = {}
    try:
        parse_head(text)
    except Unreadable:
        return found
    for line in _signatures(note):
        try:
            seen = witnessed(text, [line], policy, verify)
        except (Unreadable, Refused):
            continue
        for name in seen.times:
            found.setdefault(name, line)
    return found


def _all_lines(text: str, notes: Iterable[str], policy: Policy) -> dict[str, str]:
    """The cosignatures that hold, by name, of the notes that have this text."""
    own = [note for note in notes if text_of(note) == text]
    return {name: line for note in own for name, line in _lines(note, policy).items()}


def _has_all(note: str, text: str, names: Iterable[str], policy: Policy) -> bool:
    """Whether a note has cosignatures of all these witnesses, and none that makes a verifier refuse it."""
    try:
        times = witnessed(text, _signatures(note), policy, verify).times
        return text_of(note) == text and set(names) <= times.keys()
    except (Unreadable, Refused):
        return False


def _composed(note: str, lines: Mapping[str, str], policy: Policy) -> str:
    """A log's note with cosignatures, in the order of the policy."""
    return note + "".join(f"{lines[each.name]}\n" for each in policy.witnesses if each.name in lines)


def _signatures(note: str) -> Sequence[str]:
    return note.removesuffix("\n").rpartition("\n\n")[2].split("\n")
