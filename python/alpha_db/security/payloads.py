"""What a payload of each kind must look like, checked again outside the database. Source: docs/risk.md."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from alpha_db.errors import shown
from alpha_db.security.ed25519 import is_weak_key
from alpha_db.security.signed_text import HASH_TEXT, UUID_TEXT, is_plain_text
from alpha_db.security.state import EXACT, bounded, places

MEMBERS = {
    "risk_config": ("max_position_size_pct", "daily_drawdown_limit_pct", "max_leverage_ratio"),
    "asset_kill_threshold": ("asset", "kill_loss_pct", "kill_price", "retired"),
    "agent_enrol": ("agent_id", "name", "role", "public_key", "replaces"),
    "agent_revoke": ("agent_id",),
    "quorum_policy": ("tighten", "loosen", "govern"),
    "lockdown_release": ("damage",),
    "archive": ("table", "through_id", "row_hash", "root", "segment_sha256"),
    "hold": ("table", "from_id"),
    "unhold": ("hold",),
}
#: The members of a damaged place, and how many places a release may list.
DAMAGE = ("table", "id", "verdict", "actual_hash", "expected_hash")
MOST_DAMAGE = 10_000
_VERDICT = re.compile("[a-z_]{1,40}")
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,27})(\.[0-9]{1,28})?")


def check_payload(kind: str, payload: Any) -> None:
    """Raise ValueError unless the payload is complete and well-formed for its kind."""
    if kind not in MEMBERS:
        raise ValueError(f"unknown kind of proposal: {shown(kind, 40)}")
    if kind == "archive":
        for segment in segments_of(payload):
            _segment(segment)
        return
    _members(kind, payload, MEMBERS[kind])
    if kind == "risk_config":
        for name in MEMBERS[kind]:
            decimal_of(name, payload[name])
    elif kind == "asset_kill_threshold":
        _text("asset", payload["asset"], 500)  # its column may be shorter, until the owner widens it
        decimal_of("kill_loss_pct", payload["kill_loss_pct"])
        if payload["kill_price"] is not None:
            decimal_of("kill_price", payload["kill_price"])
        if not isinstance(payload["retired"], bool):
            raise ValueError("retired is not true or false")
    elif kind == "agent_enrol":
        _uuid("agent_id", payload["agent_id"])
        check_name(payload["name"], payload["role"])
        key_of(payload["public_key"])
        if payload["replaces"] is not None:
            _uuid("replaces", payload["replaces"])
    elif kind == "agent_revoke":
        _uuid("agent_id", payload["agent_id"])
    elif kind == "quorum_policy":
        if not all(type(payload[name]) is int and 1 <= payload[name] <= 9 for name in MEMBERS[kind]):
            raise ValueError("a quorum is out of bounds")
        if payload["loosen"] < 2 or payload["govern"] < 2:
            raise ValueError("a quorum of less than two to loosen or to govern")
    elif kind == "lockdown_release":
        _damage(payload["damage"])
    elif kind == "hold":
        _text("table", payload["table"], 63)
        _row_id("from_id", payload["from_id"])
    elif kind == "unhold":
        _uuid("hold", payload["hold"])
    else:
        raise ValueError(f"nothing checks a {kind}")


def segments_of(payload: Any) -> list[Any]:
    """Return what an archive lists: one segment, or several under `segments`. Raises ValueError."""
    if not isinstance(payload, dict) or set(payload) != {"segments"}:
        return [payload]
    segments = payload["segments"]
    if not isinstance(segments, list) or not segments:
        raise ValueError("segments is not a list of segments")
    tables = [item.get("table") if isinstance(item, dict) else None for item in segments]
    if any(tables.count(table) > 1 for table in tables):
        raise ValueError("a table is there twice")
    return segments


def is_decimal(value: Any) -> bool:
    """Return whether a payload's member is written as a decimal."""
    return isinstance(value, str) and _DECIMAL.fullmatch(value) is not None


def decimal_of(name: str, value: Any) -> Decimal:
    """Return the decimal in a payload's string. Raises ValueError."""
    if not is_decimal(value):
        raise ValueError(f"{name} is not a decimal string: {shown(value)}")
    number = bounded(name, Decimal(value))
    exponent = number.normalize(EXACT).as_tuple().exponent
    if not isinstance(exponent, int) or -exponent > places(name):
        raise ValueError(f"{name} has more than {places(name)} decimals: {value:.60}")
    return number


def key_of(value: Any) -> bytes:
    """Return the public key in 64 hex digits. Raises ValueError if it is none, or weak."""
    if not isinstance(value, str) or not HASH_TEXT.fullmatch(value):
        raise ValueError(f"not a public key in hex: {shown(value, 80)}{_wrong_with_hex(value)}")
    key = bytes.fromhex(value)
    if is_weak_key(key):
        raise ValueError(f"the public key is weak: {value}")
    return key


def _wrong_with_hex(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    bare = value.strip().lower()
    digits = "".join(bare.removeprefix("0x").replace(":", "").split())
    if HASH_TEXT.fullmatch(digits):
        return f", which is written {digits}"
    if bare.startswith("ssh-") or "begin" in bare:
        return ", but another form of one; alpha-db agents keygen prints it in hex"
    return ", which has 64 digits from 0 to 9 and a to f"


def check_name(name: str, role: str) -> None:
    """Raise ValueError unless the database will take an agent of this name and role."""
    _text("name", name, 50)
    _text("role", role, 30)


def _members(what: str, value: Any, names: tuple[str, ...]) -> None:
    if not isinstance(value, dict) or set(value) != set(names):
        raise ValueError(f"{what} has not exactly the members {', '.join(names)}")


def _text(name: str, value: Any, longest: int) -> None:
    if not (isinstance(value, str) and value.strip(" ") and len(value) <= longest and is_plain_text(value)):
        raise ValueError(f"{name} is not a plain text of at most {longest} characters")


def _uuid(name: str, value: Any) -> None:
    if not isinstance(value, str) or not UUID_TEXT.fullmatch(value):
        raise ValueError(f"{name} is not a uuid: {shown(value)}")


def _segment(value: Any) -> None:
    _members("archive", value, MEMBERS["archive"])
    _text("table", value["table"], 63)
    _row_id("through_id", value["through_id"])
    if value["through_id"] % 256:
        raise ValueError(f"through_id is not the end of a block of 256: {value['through_id']}")
    for name in ("row_hash", "root", "segment_sha256"):
        if not isinstance(value[name], str) or not HASH_TEXT.fullmatch(value[name]):
            raise ValueError(f"{name} is not a hash in hex: {shown(value[name])}")


def _row_id(name: str, value: Any) -> None:
    if type(value) is not int or not 1 <= value < 10**18:
        raise ValueError(f"{name} is not the id of a row: {shown(value)}")


def _damage(value: Any) -> None:
    if not isinstance(value, list) or len(value) > MOST_DAMAGE:
        raise ValueError(f"a release lists the damage that it acknowledges, at most {MOST_DAMAGE} places")
    for item in value:
        _members("damage", item, DAMAGE)
        _text("table", item["table"], 63)
        hashes = item["actual_hash"], item["expected_hash"]
        if (
            type(item["id"]) is not int
            or not (isinstance(item["verdict"], str) and _VERDICT.fullmatch(item["verdict"]))
            or not all(hash_ is None or (isinstance(hash_, str) and len(hash_) <= 64) for hash_ in hashes)
        ):
            raise ValueError("not a damaged place")
