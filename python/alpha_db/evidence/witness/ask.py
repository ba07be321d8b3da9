"""Asking the witnesses of a policy to cosign a checkpoint, and judging what they answer. Asks no database by itself.

Source: c2sp.org/tlog-witness. A witness is not trusted: what counts is a signature of its key on this text. A refusal
can be evidence against the log: if a witness cosigned more rows than there are, or other ones, then somebody cut the
log or forked it, or the witness lies. People must look at it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from alpha_db.evidence.offline_check import (
    Policy,
    Refused,
    Unreadable,
    Witness,
    shown,
    shown_seconds,
    witnessed,
)
from alpha_db.evidence.witness.http import NoReply, Reply, post_all
from alpha_db.evidence.witness.request import PATH, SIZE_TYPE, Head, compose_request, parse_head, parse_size
from alpha_db.security.ed25519 import verify

#: How many seconds a witness has for an answer.
PATIENCE = 30.0
#: How many seconds the clock of a witness may be ahead of ours.
_AHEAD = 3600

#: Gives the hashes which prove that the log of the first size is the beginning of that of the second. Raises NoProof.
Consistency = Callable[[int, int], Sequence[bytes]]


class NoProof(Exception):  # noqa: N818
    """A proof is not to be had; the message says why. So a witness that needs it is not asked."""


class Result(Enum):
    """What came of asking a witness."""

    COSIGNED = "cosigned"
    FORK = "fork"  #: it says that the log is not the one that it cosigned
    REFUSED = "refused"  #: it does not know this log or this key, or takes the request for malformed
    BAD_ANSWER = "bad_answer"  #: what it sent is not what a witness sends
    NOT_REACHED = "not_reached"
    NO_PROOF = "no_proof"  #: it needs a proof from the log that is not to be had


@dataclass(frozen=True)
class Finding:
    """What came of asking one witness."""

    witness: Witness
    result: Result
    detail: str
    line: str | None = None  #: its signature line, with its LF
    seconds: int | None = None  #: when it signed, by its clock, since 1970
    larger: int | None = None  #: the size that it says it cosigned, if that is larger than this one
    has_forgotten: bool = False  #: it says that it cosigned less than it did


def ask(
    note: str,
    policy: Policy,
    consistency: Consistency,
    known: Mapping[str, int] | None = None,
    timeout: float = PATIENCE,
) -> list[Finding]:
    """Ask every witness of the policy that has a URL and a key to cosign a checkpoint; return what came of each.

    Takes the log's signed note, what proves consistency, and for each witness (by its name in the policy) the size
    that it is known to have cosigned last. All are asked at once. A witness that cosigned another size last is asked
    once more, with the proof from there. Raises what `consistency` raises besides NoProof, nothing else.
    """
    text, _, _ = note.rpartition("\n\n")
    head = parse_head(f"{text}\n")
    asked = [witness for witness in policy.witnesses if witness.key and witness.url]
    known = known or {}
    olds = [min(known.get(witness.name, 0), head.size) for witness in asked]
    replies = _round(asked, olds, note, head, consistency, timeout)
    again = [
        (number, size)
        for number, reply in enumerate(replies)
        if (size := _other_size(reply)) is not None and size <= head.size and size != olds[number]
    ]
    second = _round(
        [asked[n] for n, _ in again], [size for _, size in again], note, head, consistency, timeout
    )
    findings = [
        _judge(witness, reply, head, f"{text}\n", old)
        for witness, reply, old in zip(asked, replies, olds, strict=True)
    ]
    for (number, size), reply in zip(again, second, strict=True):
        finding = _judge(asked[number], reply, head, f"{text}\n", size)
        findings[number] = _with_memory(finding, size, known.get(asked[number].name, 0))
    return findings


def submit(
    witness: Witness, note: str, old: int, consistency: Consistency, timeout: float = PATIENCE
) -> Finding:
    """Ask one witness, which is known to have cosigned the size `old` last (0: nothing). See ask."""
    policy = Policy((), (witness,), (), witness.name)
    return ask(note, policy, consistency, {witness.name: old}, timeout)[0]


def _round(
    witnesses: Sequence[Witness],
    olds: Sequence[int],
    note: str,
    head: Head,
    consistency: Consistency,
    timeout: float,
) -> list[Reply | NoReply | NoProof]:
    proofs: dict[int, Sequence[bytes] | NoProof] = {}
    for old in set(olds):
        try:
            proofs[old] = [] if old in (0, head.size) else consistency(old, head.size)
        except NoProof as problem:
            proofs[old] = problem
    requests = [
        (f"{(witness.url or '').rstrip('/').removesuffix(PATH)}{PATH}", compose_request(old, proof, note))
        for witness, old in zip(witnesses, olds, strict=True)
        if not isinstance(proof := proofs[old], NoProof)
    ]
    replies = iter(post_all(requests, timeout))
    return [proof if isinstance(proof := proofs[old], NoProof) else next(replies) for old in olds]


def _other_size(reply: Reply | NoReply | NoProof) -> int | None:
    """The size that a witness says it cosigned last; None if it says none."""
    if isinstance(reply, NoReply | NoProof) or reply.status != 409 or _media_type(reply) != SIZE_TYPE:
        return None
    try:
        return parse_size(reply.body.decode("ascii").removesuffix("\n"))
    except ValueError:  # Unreadable among them
        return None


def _judge(witness: Witness, reply: Reply | NoReply | NoProof, head: Head, text: str, old: int) -> Finding:
    if isinstance(reply, NoProof):
        told = f"there is no proof that size {head.size} follows from size {old}: {reply}"
        return Finding(witness, Result.NO_PROOF, shown(told))
    if isinstance(reply, NoReply):
        return Finding(witness, Result.NOT_REACHED, shown(str(reply)))
    match reply.status:
        case 200:
            return _cosigned(witness, reply, text)
        case 409 if _media_type(reply) == SIZE_TYPE:
            return _conflict(witness, reply, head, old)
        case 409 | 422 if reply.status == 409 or old == head.size:
            told = f"it cosigned another root of size {head.size}"
            return Finding(witness, Result.FORK, f"{told}: {_said(reply)}")
        case 422:
            told = f"it does not accept the proof that size {head.size} follows from size {old}, which it cosigned"
            return Finding(witness, Result.FORK, f"{told}: {_said(reply)}")
        case 400 | 403 | 404:
            why = {
                400: "the request is malformed",
                403: "it does not trust the key",
                404: "it does not know the log",
            }
            return Finding(witness, Result.REFUSED, f"{why[reply.status]} ({reply.status}): {_said(reply)}")
        case status if 300 <= status < 400:
            told = "it redirects, which is not followed: the policy must name where the witness is"
            return Finding(witness, Result.BAD_ANSWER, f"{told} ({status})")
        case status if status >= 500 or status in (408, 429):
            return Finding(witness, Result.NOT_REACHED, f"it cannot answer now ({status}): {_said(reply)}")
        case status:
            return Finding(witness, Result.BAD_ANSWER, f"no witness answers {status}: {_said(reply)}")


def _conflict(witness: Witness, reply: Reply, head: Head, old: int) -> Finding:
    size = _other_size(reply)
    if size is None:
        return Finding(witness, Result.BAD_ANSWER, f"the size in its answer is none: {_said(reply)}")
    if size > head.size:
        told = f"it cosigned size {size}, and this checkpoint has only {head.size}: is there a newer one elsewhere?"
        return Finding(witness, Result.FORK, f"{told} If not, the log was cut or forked.", larger=size)
    if size == old == head.size:  # so some witnesses say what the standard says without a size
        return Finding(witness, Result.FORK, f"it cosigned another root of size {head.size}: {_said(reply)}")
    if size == old:
        return Finding(
            witness, Result.BAD_ANSWER, f"it says that it cosigned size {old} last, and refuses it"
        )
    return Finding(witness, Result.BAD_ANSWER, f"it names another size each time, {size} after {old}")


def _cosigned(witness: Witness, reply: Reply, text: str) -> Finding:
    """The witness's own signature; those of others that it sends are passed over."""
    policy, times, own = Policy((), (witness,), (), witness.name), {}, ""
    try:
        body = reply.body.decode()
        for line in body.removesuffix("\n").split("\n"):
            if now := witnessed(text, [line], policy, verify).times:
                times, own = now, line
    except UnicodeDecodeError:
        return Finding(witness, Result.BAD_ANSWER, "its answer is not UTF-8")
    except Unreadable:
        return Finding(witness, Result.BAD_ANSWER, f"its answer is no list of signatures: {_said(reply)}")
    except Refused as problem:
        return Finding(witness, Result.BAD_ANSWER, str(problem))
    if not times:
        return Finding(
            witness, Result.BAD_ANSWER, f"no signature in its answer is of its key: {_said(reply)}"
        )
    seconds = times[witness.name]
    if seconds == 0 or seconds > time.time() + _AHEAD:
        told = f"its signature has a time that cannot be: {shown_seconds(seconds)}"
        return Finding(witness, Result.BAD_ANSWER, f"{told}. Is our own clock right?")
    return Finding(witness, Result.COSIGNED, f"signed at {shown_seconds(seconds)}", f"{own}\n", seconds)


def _with_memory(finding: Finding, size: int, known: int) -> Finding:
    """A finding, and whether the witness said that it cosigned less than it did."""
    if size >= known:
        return finding
    told = (
        f"{finding.detail}. It lost its memory: it cosigned size {known} before, and says now it was {size}"
    )
    return replace(finding, detail=told, has_forgotten=True)


def _media_type(reply: Reply) -> str:
    return reply.content_type.partition(";")[0].strip().lower()


def _said(reply: Reply) -> str:
    """The beginning of what a witness sent, so that a terminal can print it."""
    text = re.sub(r"\s+", " ", reply.body[:500].decode(errors="replace")).strip()
    return f'"{shown(text[:120])}"' if text else "it says nothing more"
