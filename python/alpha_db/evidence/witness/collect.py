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
    def exit_code(self) -> int:
        """1 if a witness says that it cosigned another log, 0 for a quorum, 3 otherwise."""
        if any(finding.result is Result.FORK for finding in self.findings):
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
    lines = {
        name: line
        for each in cosigned
        if text_of(each) == text
        for name, line in _lines(each, policy).items()
    }
    had = {name: witnessed(text, [line], policy, verify).times[name] for name, line in lines.items()}
    rest = policy._replace(witnesses=tuple(each for each in policy.witnesses if each.name not in lines))
    findings = ask(note, rest, consistency, known, timeout)
    new = {finding.witness.name: finding.line.removesuffix("\n") for finding in findings if finding.line}
    lines |= new
    ordered = [f"{lines[witness.name]}\n" for witness in policy.witnesses if witness.name in lines]
    return Collected(had, findings, policy.is_met(lines), f"{note}{''.join(ordered)}" if new else None)


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


def _signatures(note: str) -> Sequence[str]:
    return note.removesuffix("\n").rpartition("\n\n")[2].split("\n")
