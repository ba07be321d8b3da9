"""The exact texts that agents sign, made and read without the database. Source: docs/risk.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any
from uuid import UUID

from alpha_db.errors import shown
from alpha_db.hidden import HIDDEN

PROPOSAL_TAG = "alpha-db/proposal/v1"
APPROVAL_TAG = "alpha-db/approval/v1"
BOOTSTRAP_TAG = "alpha-db/bootstrap/v1"

UUID_TEXT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
HASH_TEXT = re.compile(r"[0-9a-f]{64}")
SIGNATURE_TEXT = re.compile(r"[0-9a-f]{128}")

_HIDDEN = re.compile(f"[{HIDDEN}]")
_TIME = re.compile(r"\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_FIELDS = ("origin", "kind", "proposal", "previous", "payload", "reason", "proposer", "expires")


@dataclass(frozen=True)
class SignedProposal:
    """What the text of a proposal says; payload_text is the payload as it stands there."""

    origin: str
    kind: str
    proposal_id: str
    previous: str
    payload: Any
    payload_text: str
    reason: str
    proposer: str
    expires: str


def digest_of(text: str) -> str:
    """Return SHA-256 of the UTF-8 bytes of a text, in lower-case hex."""
    return sha256(text.encode()).hexdigest()


def is_plain_text(value: str) -> bool:
    """Return whether a text shows all that it says: no bidi, zero-width or invisible control characters."""
    return not _HIDDEN.search(value)


def json_string(value: str) -> str:
    """Return a string as PostgreSQL's to_json(text) prints it."""
    return json.dumps(value, ensure_ascii=False)


def jsonb_text(value: Any) -> str:
    """Return a value as PostgreSQL's jsonb::text prints it: keys by length, then by bytes.

    Takes what load_json gives. Raises TypeError for anything else, floats included.
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return json_string(value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Mapping):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return "{" + ", ".join(f"{json_string(key)}: {jsonb_text(value[key])}" for key in keys) + "}"
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return "[" + ", ".join(map(jsonb_text, value)) + "]"
    raise TypeError(f"{type(value).__name__} is not exact JSON")


def load_json(text: str) -> Any:
    """Return the value of JSON text, numbers with a point or an exponent as Decimal. Raises ValueError."""
    try:
        return json.loads(text, parse_float=Decimal, parse_int=_whole, parse_constant=_refuse_constant)
    except json.JSONDecodeError as problem:
        place = f"at line {problem.lineno}, column {problem.colno}"
        raise ValueError(f"{problem.msg[:1].lower()}{problem.msg[1:]} {place}") from None
    except (RecursionError, ArithmeticError) as problem:
        is_deep = isinstance(problem, RecursionError)
        raise ValueError("it is nested too deeply" if is_deep else "a number in it is too large") from None


def signed_time(moment: datetime) -> str:
    """Return a time as signed texts print it: UTC, always six digits. Raises ValueError if it has no zone."""
    if moment.tzinfo is None:
        raise ValueError(f"a time without a zone: {moment}")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27)


def parse_time(text: str) -> datetime:
    """Return the time that a signed text prints, or the last that Python knows. Raises ValueError."""
    if not _TIME.fullmatch(text):
        raise ValueError(f"not a time of a signed text: {shown(text)}")
    if len(text) > 27:  # the database knows years after 9999
        return datetime.max.replace(tzinfo=UTC)
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def proposal_text(
    *,
    origin: str,
    proposal_id: UUID | str,
    kind: str,
    previous: str,
    payload: Any,
    reason: str,
    proposer: UUID | str,
    expires_at: datetime | str,
) -> str:
    """Return the text whose UTF-8 bytes the proposer signs.

    The payload may be a value or its jsonb text. The database's proposal_text makes the same.
    """
    return _lines(
        PROPOSAL_TAG,
        origin=json_string(origin),
        kind=json_string(kind),
        proposal=json_string(str(proposal_id)),
        previous=json_string(previous),
        payload=payload if isinstance(payload, str) else jsonb_text(payload),
        reason=json_string(reason),
        proposer=json_string(str(proposer)),
        expires=json_string(_time_text(expires_at)),
    )


def approval_text(
    *, origin: str, decision: str, digest: str, agent_id: UUID | str, signed_at: datetime | str
) -> str:
    """Return the text whose UTF-8 bytes a voter signs. The database's approval_text makes the same."""
    return _lines(
        APPROVAL_TAG,
        origin=json_string(origin),
        decision=json_string(decision),
        digest=json_string(digest),
        agent=json_string(str(agent_id)),
        signed_at=json_string(_time_text(signed_at)),
    )


def bootstrap_text(origin: str, agents: Iterable[Mapping[str, Any]]) -> str:
    """Return the text whose UTF-8 bytes each of the first agents signs, whatever order they are given in.

    The database's bootstrap_message makes the same.
    """
    members = ("agent_id", "name", "role", "public_key")
    found = [{name: agent[name] for name in members} for agent in agents]
    lines = [f"agent: {jsonb_text(agent)}\n" for agent in sorted(found, key=lambda a: str(a["agent_id"]))]
    return "".join([f"{BOOTSTRAP_TAG}\n", f"origin: {json_string(origin)}\n", *lines])


def parse_proposal(text: str) -> SignedProposal:
    """Return what the text of a proposal says.

    Raises ValueError unless the text, made again from what was read, is the same to the last character: two
    readers can then never see two meanings.
    """
    tag, *lines = text.split("\n")
    if tag != PROPOSAL_TAG or len(lines) != len(_FIELDS) + 1 or lines[-1]:
        raise ValueError("not a proposal of version 1")
    raw: dict[str, str] = {}
    for name, line in zip(_FIELDS, lines, strict=False):
        label, _, raw[name] = line.partition(": ")
        if label != name:
            raise ValueError(f"a line of the proposal is {shown(label, 40)}, not {name}")
    strings = {name: _string(raw[name]) for name in _FIELDS if name != "payload"}
    payload = load_json(raw["payload"])
    try:
        printed = jsonb_text(payload)
    except RecursionError:
        raise ValueError("the payload is nested too deeply") from None
    if printed != raw["payload"]:
        raise ValueError("the payload is not as jsonb prints it")
    for name in ("origin", "proposal", "proposer"):
        if not UUID_TEXT.fullmatch(strings[name]):
            raise ValueError(f"{name} is not a uuid: {shown(strings[name])}")
    parse_time(strings["expires"])
    if not (
        strings["reason"].strip(" ") and is_plain_text(strings["reason"]) and is_plain_text(raw["payload"])
    ):
        raise ValueError("the reason is missing, or a text hides characters")
    said = SignedProposal(
        strings["origin"], strings["kind"], strings["proposal"], strings["previous"], payload, raw["payload"],
        strings["reason"], strings["proposer"], strings["expires"],
    )  # fmt: skip
    again = proposal_text(
        origin=said.origin, proposal_id=said.proposal_id, kind=said.kind, previous=said.previous,
        payload=said.payload_text, reason=said.reason, proposer=said.proposer, expires_at=said.expires,
    )  # fmt: skip
    if again != text:
        raise ValueError("the text is not printed as signed texts are")
    return said


def _lines(tag: str, **fields: str) -> str:
    return "".join([f"{tag}\n", *(f"{name}: {value}\n" for name, value in fields.items())])


def _time_text(moment: datetime | str) -> str:
    return moment if isinstance(moment, str) else signed_time(moment)


def _string(text: str) -> str:
    value = load_json(text)
    if not isinstance(value, str):
        raise ValueError(f"not a JSON string: {text:.60}")
    return value


def _whole(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # more digits than Python reads
        raise OverflowError from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
