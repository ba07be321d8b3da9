"""Policies and cosignatures as the C2SP specifications have them; the vectors can be read by anybody's tests."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest

from alpha_db.evidence.offline_check import Refused, Unreadable, parse_policy, shown_seconds, witnessed
from alpha_db.security.ed25519 import verify
from tests.witness import vectors
from tests.witness.by_hand import LOG, Signer, b64

VECTORS: dict[str, Any] = json.loads(vectors.FILE.read_text(encoding="utf-8"))
RAISES = {"refused": Refused, "unreadable": Unreadable}


def named(cases: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case["name"] for case in cases])


def test_the_vectors_are_what_the_specifications_give() -> None:
    assert vectors.made() == VECTORS, "python -m tests.witness.vectors"


@named(VECTORS["policies"])
def test_a_policy_says_what_is_a_quorum(case: dict[str, Any]) -> None:
    policy = parse_policy(case["policy"])
    for quorum in case["quorums"]:
        assert policy.is_met(quorum["signed"]) is quorum["is_met"], quorum


@named(VECTORS["not_policies"])
def test_what_is_no_policy_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises((Unreadable, Refused)):
        parse_policy(case["policy"])


@named(VECTORS["cosigned"]["notes"])
@pytest.mark.parametrize("by", ["the file alone", "OpenSSL"])
def test_the_witnesses_of_a_note_are_found(case: dict[str, Any], by: str) -> None:
    policy = parse_policy(VECTORS["cosigned"]["policy"])
    text, _, signatures = case["note"].removesuffix("\n").rpartition("\n\n")
    arguments = (f"{text}\n", signatures.split("\n"), policy, *((verify,) if by == "OpenSSL" else ()))
    if "raises" in case:
        with pytest.raises(RAISES[case["raises"]]):
            witnessed(*arguments)
    else:
        assert witnessed(*arguments) == (case["times"], case["is_met"])


def test_a_policy_names_logs_and_where_witnesses_are() -> None:
    policy = parse_policy(vectors.TWO_LEVELS)
    assert [key.name for key in policy.logs] == [LOG.name]
    assert [(witness.name, witness.url) for witness in policy.witnesses] == [
        ("X1", "https://x1.example/"),
        ("X2", None),
        ("X3", None),
        ("Y1", None),
        ("Y2", None),
    ]


def test_the_line_that_is_wrong_is_named() -> None:
    with pytest.raises(Unreadable, match=r"^line 3 of the policy: .*wintess"):
        parse_policy(f"# first\n\nwintess w {vectors.X1.vkey}\nquorum w\n")


def test_many_groups_one_in_another_take_no_stack() -> None:
    lines = [f"witness g0 {vectors.X1.vkey}", *(f"group g{n} any g{n - 1}" for n in range(1, 30_000))]
    policy = parse_policy("".join(f"{line}\n" for line in [*lines, "quorum g29999"]))
    assert policy.is_met(["g0"])
    assert not policy.is_met([])


def test_thirty_two_witnesses_in_thirty_two_groups() -> None:
    signers = [Signer(f"w{n}.example", 4) for n in range(32)]
    lines = [f"witness w{n} {signer.vkey}" for n, signer in enumerate(signers)]
    lines += [f"group g{n} all w{n}" for n in range(31)]
    lines += [f"group most 20 {' '.join(f'g{n}' for n in range(31))}", "quorum most"]
    policy = parse_policy("".join(f"{line}\n" for line in lines))
    assert policy.is_met([f"w{n}" for n in range(20)])
    assert not policy.is_met([f"w{n}" for n in range(19)])


def test_a_number_of_members_has_one_spelling() -> None:
    """What the specification leaves open: 01 might be cut, or meant as octal."""
    with pytest.raises(Unreadable, match="how many"):
        parse_policy(f"witness w {vectors.X1.vkey}\ngroup g 01 w\nquorum g\n")


def test_a_witness_for_whom_anyone_can_sign_is_refused() -> None:
    neutral = bytes([4, 1, *bytes(31)])
    key_id = sha256(b"weak.example\n" + neutral).hexdigest()[:8]
    with pytest.raises(Refused, match=r"line 1 of the policy: .*weak"):
        parse_policy(f"witness w weak.example+{key_id}+{b64(neutral)}\nquorum w\n")


def test_no_time_is_too_late_to_be_shown() -> None:
    assert shown_seconds(1_790_000_000) == "2026-09-21T14:13:20Z"
    assert shown_seconds((1 << 63) - 1) == "9223372036854775807 seconds after 1970"
