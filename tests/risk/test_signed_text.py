"""The signed texts and the state's text, made in Python and in SQL, are the same to the last byte."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from alpha_db.cli.output import clean
from alpha_db.security import signed_text, state
from alpha_db.security.signed_text import parse_proposal, parse_time, proposal_text
from tests.risk.signed_history import ORIGIN, governed_book
from tests.support import Connection, one, query

pytestmark = pytest.mark.reads_only

ANY_TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="\0")
    | st.sampled_from([*'\x01\x1f\x7f"\\/\n\r\t\b\f\u2028\u200bé😀']),
    max_size=30,
)
TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
SHARE = st.decimals(0, 1, places=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=10,
)
ON_SERVER = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@ON_SERVER
@given(value=ANY_TEXT)
@example("".join(map(chr, range(1, 256))))
def test_strings_are_printed_as_to_json_prints_them(db: Connection, value: str) -> None:
    assert one(db, "select to_json(%s::text)::text", [value]) == signed_text.json_string(value)


@ON_SERVER
@given(value=JSON)
def test_payloads_are_printed_as_jsonb_prints_them(db: Connection, value: Any) -> None:
    mine = signed_text.jsonb_text(value)
    assert one(db, "select %s::jsonb::text", [json.dumps(value, ensure_ascii=False)]) == mine
    assert signed_text.jsonb_text(signed_text.load_json(mine)) == mine


@ON_SERVER
@given(reason=ANY_TEXT, kind=ANY_TEXT, moment=TIMES, payload=JSON, proposal=st.uuids())
def test_a_proposal_reads_the_same(
    db: Connection, reason: str, kind: str, moment: datetime, payload: Any, proposal: UUID
) -> None:
    theirs = one(
        db,
        "select _proposal_text(%s, %s, %s, %s, %s::jsonb, %s, %s, %s)",
        [ORIGIN, proposal, kind, "0" * 64, signed_text.jsonb_text(payload), reason, proposal, moment],
    )
    mine = proposal_text(
        origin=ORIGIN, proposal_id=proposal, kind=kind, previous="0" * 64, payload=json.loads(json.dumps(payload))
        if not isinstance(payload, str) else signed_text.json_string(payload),
        reason=reason, proposer=proposal, expires_at=moment,
    )  # fmt: skip
    assert mine == theirs
    assert one(db, "select _is_plain_text(%s)", [reason]) == signed_text.is_plain_text(reason)


@pytest.mark.any_server  # the range of characters in the function is written out
def test_the_same_characters_hide_in_sql_in_python_and_on_the_screen(db: Connection) -> None:
    """Of all that there are; the screen also escapes what a signed text escapes by itself."""
    every = [chr(n) for n in range(1, 0x110000) if not 0xD800 <= n < 0xE000]
    refused = query(
        db, "select c from unnest(%s::text[]) as c where not _is_plain_text('a' || c || 'b')", [every]
    )
    hidden = {row["c"] for row in refused}
    assert hidden == {c for c in every if not signed_text.is_plain_text(f"a{c}b")}
    assert hidden | {c for c in every if c < " "} == {c for c in every if clean(c) != c}
    assert hidden >= set("\u202e\u200b\u3164\ufe0f\U000e0041\U000e0100\U0001d173\u180b\u17b4")


@ON_SERVER
@given(decision=ANY_TEXT, moment=TIMES, agent=st.uuids())
def test_an_approval_reads_the_same(db: Connection, decision: str, moment: datetime, agent: UUID) -> None:
    theirs = one(
        db, "select _approval_text(%s, %s, %s, %s, %s)", [ORIGIN, decision, "ab" * 32, agent, moment]
    )
    mine = signed_text.approval_text(
        origin=ORIGIN, decision=decision, digest="ab" * 32, agent_id=agent, signed_at=moment
    )
    assert mine == theirs


@ON_SERVER
@given(
    version=st.integers(0, 10**12),
    limits=st.none() | st.tuples(SHARE, SHARE, st.decimals(0, 100, places=2)),
    thresholds=st.dictionaries(
        ANY_TEXT.filter(bool),
        st.tuples(SHARE, st.none() | st.decimals("0.0000000001", 10**17, places=10)),
        max_size=4,
    ),
)
def test_a_state_reads_the_same(db: Connection, version: int, limits: Any, thresholds: Any) -> None:
    names = ("max_position_size_pct", "daily_drawdown_limit_pct", "max_leverage_ratio")
    mine = state.RiskState(
        version,
        None if limits is None else state.Limits(*limits),
        {asset: state.KillThreshold(asset, *values) for asset, values in thresholds.items()},
    )
    said = None if limits is None else json.dumps(dict(zip(names, map(str, limits), strict=True)))
    items = [
        {"asset": a, "kill_loss_pct": str(loss), "kill_price": None if price is None else format(price, "f")}
        for a, (loss, price) in thresholds.items()
    ]
    theirs = one(db, "select _state_text(%s, %s::jsonb, %s::jsonb)", [version, said, json.dumps(items)])
    assert mine.text == theirs
    assert state.RiskState.parse(mine.text) == mine


def test_the_empty_state_is_the_design_s() -> None:
    assert state.EMPTY_STATE.text == '{"version":0,"limits":null,"kill_thresholds":[]}'
    assert state.EMPTY_STATE.hash == "f01a8729df45ec8b813f8e803f1b6e83d8717bef2d80d827fabdac762535b570"


GOOD = governed_book().changes[0].proposal_text


def test_a_proposal_is_read_back() -> None:
    said = parse_proposal(GOOD)
    assert (said.origin, said.kind, said.reason) == (ORIGIN, "risk_config", "because")
    assert said.payload["max_leverage_ratio"] == "2"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/v1\n", "/v2\n"),
        ("origin: ", "origin:  "),
        ("origin: ", "Origin: "),
        ("because", "be\\u0063ause"),  # another spelling of the same string
        ("because", "bec\u200bause"),
        ("because", ""),
        ('"max_leverage_ratio": "2"', '"max_leverage_ratio":"2"'),
        ('"max_leverage_ratio": "2"', '"max_leverage_ratio": "1", "max_leverage_ratio": "2"'),
        ('"max_leverage_ratio": "2"', '"max_leverage_ratio": NaN'),
        ("kind: ", 'kind: "risk_config"\nkind: '),
        (ORIGIN, ORIGIN.upper() + "x"),
        ("000000Z", "000Z"),
    ],
)
def test_only_the_one_spelling_is_read(old: str, new: str) -> None:
    assert old in GOOD
    with pytest.raises(ValueError):
        parse_proposal(GOOD.replace(old, new, 1))


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: t + "\n", lambda t: "\n" + t, lambda t: t.upper()]
)
def test_nothing_may_be_missing_or_added(change: Any) -> None:
    with pytest.raises(ValueError):
        parse_proposal(change(GOOD))


def test_a_time_beyond_python_s_is_far_away() -> None:
    assert parse_time("12026-01-25T12:00:00.123456Z").year == 9999
    assert signed_text.signed_time(datetime(33, 4, 3, tzinfo=UTC)) == "0033-04-03T00:00:00.000000Z"
    with pytest.raises(ValueError):
        signed_text.signed_time(datetime(2026, 1, 25))
