"""What SQL decides and Python decides again is decided alike: payloads, directions, the next state."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alpha_db.security import replay
from alpha_db.security.payloads import check_payload
from alpha_db.security.signed_text import jsonb_text
from alpha_db.security.state import KillThreshold, Limits, RiskState
from tests.risk.council import PLACE, SEGMENT, Council, agent, agent_id, limits, threshold
from tests.support import Connection, one

ON_SERVER = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
DIGITS = st.text("0123456789", max_size=4)
NUMBERS = (
    st.builds("{}.{}".format, st.sampled_from(["0", "1", "99", "100", "00"]), DIGITS)
    | st.builds("0.{}{}".format, DIGITS, st.integers(0, 29).map("0".__mul__))
    | st.sampled_from(["0", "1", "1.", ".1", "-0", "+1", "1e0", "NaN", " 1", "1\n", "٣", "1,5", "0x1", "1_0"])
    | st.sampled_from(["9" * 18, "9" * 28, "9" * 29, "999999999999999999.9999999999", "0.0000000001"])
)
# At most as long as an asset's column: Python does not know how long that is.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20) | st.sampled_from(
    [" ", "\t", "\u00a0", "\u2003", "É" * 20, "É" * 501, "é", "😀" * 20, "a\u200bb", "\ufeffBTC", "BTC "]
)
ODD: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-3, 12) | NUMBERS | TEXTS | st.just([]) | st.just({})
)
SHARE = st.decimals(0, 1, places=4, allow_nan=False)
PRICE = st.none() | st.decimals(Decimal("0.0000000001"), 10**6, places=10, allow_nan=False)
ASSETS = st.sampled_from(["BTC", "ETH", "é", '"'])


def mostly_good(kind: str, good: dict[str, Any]) -> st.SearchStrategy[tuple[str, Any]]:
    """The payload with one member replaced, added or left out; or another thing altogether."""
    replaced = st.builds(lambda name, value: good | {name: value}, st.sampled_from(sorted(good)), ODD)
    added = st.builds(lambda value: good | {"more": value}, ODD)
    short = st.sampled_from(sorted(good)).map(lambda name: {k: v for k, v in good.items() if k != name})
    return (replaced | added | short | ODD).map(lambda payload: (kind, payload))


PAYLOADS = st.one_of(
    mostly_good("risk_config", limits()),
    mostly_good("asset_kill_threshold", threshold(price="5")),
    mostly_good("agent_enrol", agent("dan") | {"replaces": str(agent_id("ada"))}),
    mostly_good("agent_revoke", {"agent_id": str(agent_id("ada"))}),
    mostly_good("quorum_policy", {"tighten": 1, "loosen": 2, "govern": 2}),
    mostly_good("lockdown_release", {"damage": [PLACE]}),
    mostly_good("archive", SEGMENT),
    mostly_good("archive", SEGMENT).map(lambda item: (item[0], {"segments": [item[1]]})),
    mostly_good("hold", {"table": "signals", "from_id": 1}),
    mostly_good("lockdown_release", PLACE).map(lambda item: (item[0], {"damage": [item[1]]})),
    st.tuples(TEXTS, ODD),
)


@ON_SERVER
@given(item=PAYLOADS)
def test_what_a_payload_must_be(council: Council, item: tuple[str, Any]) -> None:
    kind, payload = item
    try:
        check_payload(kind, payload)
        mine = True
    except ValueError:
        mine = False
    try:
        one(council.connection, "select _check_payload(%s, %s::jsonb)", [kind, jsonb_text(payload)])
        theirs = True
    except psycopg.Error as problem:
        if not str(problem.sqlstate).startswith("RSK"):
            raise
        theirs = False
    # What stands in tables only the database can know: whom it has enrolled, and which tables are chained.
    known = kind == "quorum_policy" or any(name in str(payload) for name in ("agent_id", "damage", "'table'"))
    assert mine == theirs or (mine and known), (kind, payload)


STATES = st.builds(
    RiskState,
    st.integers(1, 10**6),
    st.none() | st.builds(Limits, SHARE, SHARE, st.decimals(0, 100, places=2, allow_nan=False)),
    st.dictionaries(ASSETS, st.tuples(SHARE, PRICE), max_size=4).map(
        lambda chosen: {asset: KillThreshold(asset, *values) for asset, values in chosen.items()}
    ),
)
PLAIN = SHARE.map("{:f}".format)
CHANGES: st.SearchStrategy[tuple[str, Any]] = st.one_of(
    st.tuples(
        st.just("risk_config"), st.builds(limits, PLAIN, PLAIN, st.integers(0, 100).map("{}.00".format))
    ),
    st.tuples(
        st.just("asset_kill_threshold"),
        st.builds(
            threshold, ASSETS, PLAIN, PRICE.map(lambda p: None if p is None else f"{p:f}"), st.booleans()
        ),
    ),
    st.tuples(
        st.sampled_from(["agent_enrol", "agent_revoke", "quorum_policy", "lockdown_release"]), st.just({})
    ),
)


@ON_SERVER
@given(now=STATES, change=CHANGES)
def test_what_a_change_does_to_a_state(db: Connection, now: RiskState, change: tuple[str, Any]) -> None:
    kind, payload = change
    told = jsonb_text(payload)
    assert replay.direction(kind, payload, now) == one(
        db, "select _change_direction(%s, %s::jsonb, %s::jsonb)", [kind, told, now.text]
    )
    assert replay.next_state(now, kind, payload).text == one(
        db, "select _next_state_text(%s, %s, %s::jsonb)", [now.text, kind, told]
    )
