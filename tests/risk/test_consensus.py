"""Proposals and votes: what is signed, who counts, what is refused, and who wins a race."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg.types.json import Jsonb

from tests.chain.by_force import shared
from tests.cluster import Server
from tests.concurrency.background import Background
from tests.fix_database import Connect, LoginRole, Prepared
from tests.risk.conftest import council_book, named
from tests.risk.council import (
    PLACE,
    Council,
    agent,
    agent_id,
    code_of,
    limits,
    private_key,
    soon,
    threshold,
)
from tests.support import assert_healthy, changed_guards, one, query, wait_until

EMPTY = '{"version":0,"limits":null,"kill_thresholds":[]}'
EMPTY_HASH = "f01a8729df45ec8b813f8e803f1b6e83d8717bef2d80d827fabdac762535b570"
VOTE = "select vote(%s, %s, %s, %s, %s) as status"


# --------------------------------------------------------------------------------------------------
# What is signed


def test_the_texts_are_exactly_those_of_the_design(council: Council) -> None:
    origin = one(council.connection, "select installation_id from installation")
    proposal, expires = UUID("12345678-9abc-4def-8123-456789abcdef"), datetime(2999, 1, 25, 12, tzinfo=UTC)
    text = one(
        council.connection,
        "select proposal_message(%s, 'risk_config', %s, %s, %s, %s)",
        [proposal, Jsonb(limits()), 'vol "up"\n\\ and é', agent_id("ada"), expires],
    )
    assert text == (
        "alpha-db/proposal/v1\n"
        f'origin: "{origin}"\n'
        'kind: "risk_config"\n'
        'proposal: "12345678-9abc-4def-8123-456789abcdef"\n'
        f'previous: "{EMPTY_HASH}"\n'
        'payload: {"max_leverage_ratio": "2", "max_position_size_pct": "0.05", "daily_drawdown_limit_pct": "0.03"}\n'
        'reason: "vol \\"up\\"\\n\\\\ and é"\n'
        f'proposer: "{agent_id("ada")}"\n'
        'expires: "2999-01-25T12:00:00.000000Z"\n'
    )
    council.propose("risk_config", limits(), "ada", proposal_id=proposal, expires_at=expires)
    stored = one(council.connection, "select signed_text from proposals")
    digest = one(council.connection, "select digest from proposals")
    assert digest == hashlib.sha256(stored.encode()).hexdigest()
    at = datetime(2026, 1, 25, 14, 0, 0, 123456, tzinfo=UTC)
    vote = one(
        council.connection, "select approval_message(%s, %s, 'APPROVE', %s)", [proposal, agent_id("ben"), at]
    )
    assert vote == (
        "alpha-db/approval/v1\n"
        f'origin: "{origin}"\n'
        'decision: "APPROVE"\n'
        f'digest: "{digest}"\n'
        f'agent: "{agent_id("ben")}"\n'
        'signed_at: "2026-01-25T14:00:00.123456Z"\n'
    )


@pytest.mark.parametrize(
    "setting",
    [
        "timezone = 'Asia/Kathmandu'",
        "datestyle = 'German, DMY'",
        "bytea_output = 'escape'",
        "extra_float_digits = -15",
        "search_path = pg_catalog",
    ],
)
def test_settings_do_not_change_what_is_signed(governed: Council, setting: str) -> None:
    arguments = [uuid4(), Jsonb(threshold(price="1")), agent_id("ada"), soon()]
    call = "select public.proposal_message(%s, 'asset_kill_threshold', %s, 'why', %s, %s)"
    plain = one(governed.connection, call, arguments)
    state = one(governed.connection, "select state_hash from public.active_risk_state()")
    governed.connection.execute(f"set {setting}")
    assert one(governed.connection, call, arguments) == plain
    assert one(governed.connection, "select state_hash from public.active_risk_state()") == state


def test_a_signature_for_one_installation_is_worth_nothing_at_another(
    council: Council, connect: Connect, make_database: object, template: str
) -> None:
    other = Council(connect(dbname=make_database(template))).bootstrap("ada", "ben", "cyd")  # type: ignore[operator]
    other.connection.execute("select 1")
    origins = [one(c.connection, "select installation_id from installation") for c in (council, other)]
    if origins[0] == origins[1]:
        # clones of one template have its identity; a real second installation has its own
        other.connection.execute("set session_replication_role = replica")
        other.connection.execute("alter table installation disable trigger user")
        other.connection.execute("update installation set installation_id = gen_random_uuid()")
    row = council.sign_proposal("risk_config", limits(), "ada")
    council.send_proposal(row)
    with pytest.raises(psycopg.Error) as caught:
        other.send_proposal(row)
    assert code_of(caught) == "RSK-003"


# --------------------------------------------------------------------------------------------------
# The way from a proposal to a state


def test_the_empty_state(council: Council) -> None:
    state = council.state()
    assert (state["version"], state["state_text"], state["state_hash"]) == (0, EMPTY, EMPTY_HASH)
    assert hashlib.sha256(EMPTY.encode()).hexdigest() == EMPTY_HASH
    assert all(query(council.connection, "select is_valid from verify_config_integrity()"))


def test_the_first_configuration_is_a_proposal_like_any_other(council: Council) -> None:
    proposal_id = council.propose("risk_config", limits(), "ada")
    assert one(council.connection, "select needed from proposal_progress(%s)", [proposal_id]) == 2
    assert council.vote(proposal_id, "ben") == "PENDING"
    assert council.state()["version"] == 0
    assert council.vote(proposal_id, "cyd") == "APPLIED"
    # of an applied proposal what it had and needed, not what it would need in the state that it led to
    assert query(council.connection, "select * from proposal_progress(%s)", [proposal_id]) == [
        {"status": "APPLIED", "approvals": 2, "needed": 2, "direction": "loosen"}
    ]
    state = council.state()
    assert state["state_text"] == (
        '{"version":1,"limits":{"max_position_size_pct":0.0500,"daily_drawdown_limit_pct":0.0300,'
        '"max_leverage_ratio":2.00},"kill_thresholds":[]}'
    )
    assert state["state_hash"] == hashlib.sha256(state["state_text"].encode()).hexdigest()
    (row,) = query(council.connection, "select * from risk_configurations")
    assert (row["approved_by_agent_id"], row["reason_for_change"], row["valid_to"], row["version"]) == (
        agent_id("cyd"),
        "because",
        None,
        1,
    )
    assert (row["proposal_id"], row["state_hash"]) == (proposal_id, state["state_hash"])
    (entry,) = query(council.connection, "select * from risk_change_log")
    assert [a["agent_id"] for a in entry["approvals"]] == sorted(str(agent_id(n)) for n in ("ben", "cyd"))
    assert entry["previous"] == EMPTY_HASH
    assert_healthy(council.connection)


def test_versions_follow_one_another_without_gap_or_overlap(governed: Council) -> None:
    governed.enact("risk_config", limits("0.04"), "ben", "ada")
    governed.enact("asset_kill_threshold", threshold(), "ben", "ada")
    governed.enact("risk_config", limits("0.04", leverage="1.5"), "cyd", "ada")
    rows = query(governed.connection, "select * from risk_configurations order by valid_from")
    assert [row["version"] for row in rows] == [1, 2, 4]
    assert [row["valid_to"] for row in rows[:-1]] == [row["valid_from"] for row in rows[1:]]
    assert rows[-1]["valid_to"] is None
    assert rows[0]["max_leverage_ratio"] == 2
    assert governed.state()["version"] == 4
    assert_healthy(governed.connection)


def test_an_asset_may_look_like_a_number(governed: Council) -> None:
    assets = ["1.2.3", "...", "1.", "007", "1.5"]
    for asset in assets:
        governed.enact("asset_kill_threshold", threshold(asset, "0.2", "1500.5"), "ada", "ben")
    for asset in assets:
        assert f'"asset":"{asset}"' in governed.state()["state_text"]
    assert_healthy(governed.connection)


def test_kill_thresholds_come_and_go(governed: Council) -> None:
    governed.enact("asset_kill_threshold", threshold("ETH", "0.2", "1500.5"), "ada", "ben")
    governed.enact("asset_kill_threshold", threshold("BTC", "0.1"), "ada", "ben")
    assert governed.state()["state_text"].endswith(
        '"kill_thresholds":[{"asset":"BTC","kill_loss_pct":0.1000,"kill_price":null},'
        '{"asset":"ETH","kill_loss_pct":0.2000,"kill_price":1500.5000000000}]}'
    )
    governed.enact("asset_kill_threshold", threshold("BTC", "0.1", retired=True), "ada", "ben", "cyd")
    assert '"BTC"' not in governed.state()["state_text"]
    governed.enact("asset_kill_threshold", threshold("BTC", "0.3"), "ada", "ben")  # new again: tightens
    rows = query(
        governed.connection,
        "select * from risk_asset_kill_thresholds where asset = 'BTC' order by valid_from",
    )
    assert [(row["retired"], row["valid_to"] is None) for row in rows] == [
        (False, False),
        (True, False),
        (False, True),
    ]
    assert_healthy(governed.connection)


def test_the_evidence_can_be_checked_without_this_database(governed: Council) -> None:
    governed.enact("risk_config", limits("0.01"), "ben", "cyd")
    rows = query(governed.connection, "select * from risk_evidence()")
    assert [row["version"] for row in rows] == [1, 2]
    assert [row["version"] for row in query(governed.connection, "select * from risk_evidence(1)")] == [2]
    assert query(governed.connection, "select * from risk_evidence(null)") == rows
    origin, previous = governed.state()["origin"], EMPTY_HASH
    for row in rows:
        assert row["previous"] == previous
        previous = hashlib.sha256(row["state_text"].encode()).hexdigest()
        assert row["state_hash"] == previous
        names = {str(agent_id(name)): name for name in governed.keys}
        governed.keys[names[str(row["proposer"])]].public_key().verify(
            bytes.fromhex(row["proposal_signature"]), row["proposal_text"].encode()
        )
        digest = hashlib.sha256(row["proposal_text"].encode()).hexdigest()
        for a in row["approvals"]:
            text = (
                f'alpha-db/approval/v1\norigin: "{origin}"\ndecision: "APPROVE"\ndigest: "{digest}"\n'
                f'agent: "{a["agent_id"]}"\nsigned_at: "{a["signed_at"]}"\n'
            )
            key = governed.keys[names[a["agent_id"]]].public_key()
            key.verify(bytes.fromhex(a["signature"]), text.encode())


# --------------------------------------------------------------------------------------------------
# Proposals that are refused


@pytest.fixture(scope="module")
def still(server: Server, prepared: Prepared) -> Iterator[Council]:
    """Three agents, of whom nothing is accepted: every test here is refused."""
    with shared(server, prepared, council_book(prepared), "risk_still") as connection:
        yield named(connection)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("risk_config", limits("NaN")),
        ("risk_config", limits("Infinity")),
        ("risk_config", limits("-Infinity")),
        ("risk_config", limits("1.0001")),
        ("risk_config", limits("-0.01")),
        ("risk_config", limits("0.00001")),
        ("risk_config", limits("1e-2")),
        ("risk_config", limits(".5")),
        ("risk_config", limits("00.5")),
        ("risk_config", limits("+0.5")),
        ("risk_config", limits(" 0.5")),
        ("risk_config", limits("0.5\n")),
        ("risk_config", limits("٠.٥")),
        ("risk_config", limits("")),
        ("risk_config", limits(drawdown="1.1")),
        ("risk_config", limits(leverage="100.01")),
        ("risk_config", limits(leverage="1.001")),
        ("risk_config", limits() | {"max_leverage_ratio": 2}),
        ("risk_config", limits() | {"max_leverage_ratio": None}),
        ("risk_config", limits() | {"more": "1"}),
        ("risk_config", {"max_position_size_pct": "0.1"}),
        ("risk_config", {}),
        ("asset_kill_threshold", threshold("")),
        ("asset_kill_threshold", threshold("x" * 501)),
        ("asset_kill_threshold", threshold("BT\u202eC")),
        ("asset_kill_threshold", threshold(loss="1.5")),
        ("asset_kill_threshold", threshold(price="0")),
        ("asset_kill_threshold", threshold(price="0.00000000001")),
        ("asset_kill_threshold", threshold(price="1000000000000000000")),
        ("asset_kill_threshold", threshold() | {"retired": "true"}),
        ("asset_kill_threshold", threshold() | {"retired": None}),
        ("quorum_policy", {"tighten": 0, "loosen": 2, "govern": 2}),
        ("quorum_policy", {"tighten": 1, "loosen": 1, "govern": 2}),
        ("quorum_policy", {"tighten": 1, "loosen": 2, "govern": 1}),
        ("quorum_policy", {"tighten": 1, "loosen": 3, "govern": 2}),
        ("quorum_policy", {"tighten": 1.5, "loosen": 2, "govern": 2}),
        ("quorum_policy", {"tighten": "1", "loosen": 2, "govern": 2}),
        ("agent_revoke", {"agent_id": "nobody"}),
        ("agent_enrol", agent("ada") | {"replaces": None}),
        ("agent_enrol", agent("dan") | {"replaces": None, "name": ""}),
        ("agent_enrol", agent("dan") | {"replaces": None, "name": "\u200bdan"}),
        ("agent_enrol", agent("dan")),
        ("lockdown_release", {"damage": "signals"}),
        ("lockdown_release", {"damage": [1]}),
        ("lockdown_release", {"damage": [{"table": "signals", "id": 1, "actual_hash": None}]}),
        ("lockdown_release", {"damage": [PLACE | {"table": "pg_class"}]}),
        ("lockdown_release", {"damage": [PLACE | {"id": "1"}]}),
        ("lockdown_release", {"damage": [PLACE | {"id": 1.5}]}),
        ("lockdown_release", {"damage": [PLACE | {"verdict": None}]}),
        ("lockdown_release", {"damage": [PLACE | {"actual_hash": "0" * 65}]}),
        ("lockdown_release", {"damage": [PLACE | {"more": 1}]}),
        ("lockdown_release", {"damage": [PLACE] * 10_001}),
        ("no_such_kind", {}),
    ],
)
def test_impossible_payload_is_rsk_001(still: Council, kind: str, payload: dict[str, object]) -> None:
    counted = "select attempts from vw_rejected_attempts where code = 'RSK-001' and table_name = 'consensus'"
    before = one(still.connection, counted) or 0
    with pytest.raises(psycopg.Error) as caught:
        still.propose(kind, payload, "ada")
    assert code_of(caught) == "RSK-001"
    assert one(still.connection, "select count(*) from proposals") == 0
    assert one(still.connection, counted) == before + 1


@pytest.mark.parametrize("payload", ["[]", "null", '"x"', "1"])
def test_payload_that_is_no_object_is_rsk_001(still: Council, payload: str) -> None:
    row = still.sign_proposal("risk_config", {}, "ada")
    with pytest.raises(psycopg.Error) as caught:
        still.send_proposal(row | {"payload": payload})
    assert code_of(caught) == "RSK-001"


@pytest.mark.parametrize(
    "bound", [limits("0", "0", "0"), limits("1", "1", "100"), limits("1.0000", "0.9999", "99.99")]
)
def test_the_bounds_themselves_are_allowed(council: Council, bound: dict[str, str]) -> None:
    council.enact("risk_config", bound, "ada", "ben", "cyd")


@pytest.mark.parametrize("reason", ["", "   ", "fine\u200b", "a\u202eb", "\u2028"])
def test_a_reason_is_given_and_hides_nothing(still: Council, reason: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        still.propose("risk_config", limits(), "ada", reason=reason)
    assert code_of(caught) == "RSK-001"


@pytest.mark.parametrize("expires", ["infinity", "2020-01-01T00:00:00Z"])
def test_expired_proposal_is_rsk_006(still: Council, expires: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        still.propose("risk_config", limits(), "ada", expires_at=expires)
    assert code_of(caught) == "RSK-006"


def test_proposal_id_is_used_once(council: Council) -> None:
    proposal_id = council.propose("risk_config", limits(), "ada")
    with pytest.raises(psycopg.Error) as caught:
        council.propose("risk_config", limits("0.01"), "ada", proposal_id=proposal_id)
    assert code_of(caught) == "RSK-006"


@pytest.mark.parametrize("member", ["reason", "expires_at", "payload", "kind", "proposal_id", "proposer"])
def test_a_signature_holds_for_exactly_what_was_signed(still: Council, member: str) -> None:
    row = still.sign_proposal("risk_config", limits(), "ada")
    other = {
        "reason": "another",
        "expires_at": row["expires_at"] + timedelta(microseconds=1),
        "payload": Jsonb(limits("0.06")),
        "kind": "quorum_policy",
        "proposal_id": uuid4(),
        "proposer": agent_id("ben"),
    }
    changed = row | {member: other[member]}
    if member == "kind":
        changed["payload"] = Jsonb({"tighten": 1, "loosen": 2, "govern": 2})
    with pytest.raises(psycopg.Error) as caught:
        still.send_proposal(changed)
    assert code_of(caught) == "RSK-003"


@pytest.mark.parametrize("signature", [None, b"", b"\0" * 64, b"x" * 63, b"x" * 65])
def test_no_signature_is_rsk_003(still: Council, signature: bytes | None) -> None:
    row = still.sign_proposal("risk_config", limits(), "ada") | {"signature": signature}
    with pytest.raises(psycopg.Error) as caught:
        still.send_proposal(row)
    assert code_of(caught) == "RSK-003"


def test_unknown_proposer_is_rsk_003(council: Council) -> None:
    council.keys["eve"] = Ed25519PrivateKey.generate()
    with pytest.raises(psycopg.Error) as caught:
        council.propose("risk_config", limits(), "eve")
    assert code_of(caught) == "RSK-003"


def test_staleness_is_told_from_a_bad_signature(governed: Council) -> None:
    before = governed.state()["state_hash"]
    row = governed.sign_proposal("risk_config", limits("0.02"), "ada", previous=before)
    governed.enact("asset_kill_threshold", threshold(), "ada", "ben")
    with pytest.raises(psycopg.Error) as caught:
        governed.send_proposal(row)
    assert code_of(caught) == "RSK-005"


# --------------------------------------------------------------------------------------------------
# Votes that are refused


def refused_vote(council: Council, *arguments: object, **others: object) -> str:
    with pytest.raises(psycopg.Error) as caught:
        council.vote(*arguments, **others)  # type: ignore[arg-type]
    return code_of(caught)


def test_nobody_approves_his_own_proposal(council: Council) -> None:
    proposal_id = council.propose("risk_config", limits(), "ada")
    assert refused_vote(council, proposal_id, "ada") == "RSK-004"
    assert one(council.connection, "select count(*) from votes") == 0


def test_nobody_votes_twice(council: Council) -> None:
    proposal_id = council.propose("risk_config", limits(), "ada")
    council.vote(proposal_id, "ben")
    assert refused_vote(council, proposal_id, "ben") == "RSK-004"
    assert refused_vote(council, proposal_id, "ben", "REJECT") == "RSK-004"
    assert council.status(proposal_id) == "PENDING"


@pytest.mark.parametrize("decision", ["approve", "ABSTAIN", ""])
def test_a_vote_is_approve_or_reject(council: Council, decision: str) -> None:
    proposal_id = council.propose("risk_config", limits(), "ada")
    assert refused_vote(council, proposal_id, "ben", decision) == "RSK-004"


def test_one_reject_vetoes(council: Council) -> None:
    proposal_id = council.propose("risk_config", limits(), "ada")
    council.vote(proposal_id, "ben")
    assert council.vote(proposal_id, "cyd", "REJECT") == "REJECTED"
    assert council.status(proposal_id) == "REJECTED"
    assert council.state()["version"] == 0
    assert refused_vote(council, proposal_id, "cyd") == "RSK-006"


def test_the_proposer_withdraws(council: Council) -> None:
    proposal_id = council.propose("risk_config", limits(), "ada")
    council.vote(proposal_id, "ada", "REJECT")
    assert council.status(proposal_id) == "WITHDRAWN"
    assert refused_vote(council, proposal_id, "ben") == "RSK-006"


def test_applied_proposal_is_closed(council: Council) -> None:
    proposal_id = council.enact("risk_config", limits(), "ada", "ben", "cyd")
    assert council.status(proposal_id) == "APPLIED"
    assert refused_vote(council, proposal_id, "cyd") == "RSK-006"


def test_unknown_proposal_is_rsk_006(council: Council) -> None:
    assert refused_vote(council, uuid4(), "ben") == "RSK-006"


def test_expired_proposal_is_closed(council: Council) -> None:
    expires = one(council.connection, "select clock_timestamp() + interval '1 s'")
    proposal_id = council.propose("risk_config", limits(), "ada", expires_at=expires)
    council.vote(proposal_id, "ben")
    wait_until(council.connection, "select clock_timestamp() >= %s", [expires])
    assert council.status(proposal_id) == "EXPIRED"
    assert refused_vote(council, proposal_id, "cyd") == "RSK-006"
    assert council.state()["version"] == 0


def test_unknown_voter_and_bad_signatures_are_rsk_003(council: Council) -> None:
    proposal_id = council.propose("risk_config", limits(), "ada")
    council.keys["eve"] = Ed25519PrivateKey.generate()
    assert refused_vote(council, proposal_id, "eve") == "RSK-003"
    council.keys["ben"] = council.keys["cyd"]  # cyd cannot vote for ben
    assert refused_vote(council, proposal_id, "ben") == "RSK-003"


def test_a_vote_holds_for_its_proposal_and_decision_only(council: Council) -> None:
    proposal_id = council.propose("risk_config", limits(), "ada")
    twin = council.propose("risk_config", limits(), "ada")
    reject = council.sign_vote(proposal_id, "ben", "REJECT")
    for arguments in ((twin, *reject[1:]), (proposal_id, agent_id("ben"), "APPROVE", *reject[3:])):
        with pytest.raises(psycopg.Error) as caught:
            council.send_vote(arguments)
        assert code_of(caught) == "RSK-003"


@pytest.mark.parametrize("signed_at", ["infinity", "-infinity", "2999-01-01T00:00:00Z"])
def test_signed_at_is_a_time_of_signing(council: Council, signed_at: str) -> None:
    proposal_id = council.propose("risk_config", limits(), "ada")
    assert refused_vote(council, proposal_id, "ben", signed_at=signed_at) == "RSK-003"


def test_every_other_proposal_is_stale_once_one_is_applied(governed: Council) -> None:
    first = governed.propose("risk_config", limits("0.04"), "ada")
    second = governed.propose("risk_config", limits("0.03"), "ben")
    governed.vote(first, "cyd")
    assert governed.status(second) == "STALE"
    assert refused_vote(governed, second, "cyd") == "RSK-005"


# --------------------------------------------------------------------------------------------------
# On connections of their own


def test_two_proposals_race_for_one_state(governed: Council, connect: Connect) -> None:
    first = governed.propose("risk_config", limits("0.04"), "ada")
    second = governed.propose("risk_config", limits("0.03"), "ben")
    votes = [governed.sign_vote(first, "cyd"), governed.sign_vote(second, "cyd")]
    one_side, other_side = connect(autocommit=False), connect()
    assert one(one_side, VOTE, votes[0]) == "APPLIED"
    waiting = Background(other_side, VOTE, votes[1]).blocked(governed.connection)
    one_side.commit()
    error = waiting.error()
    assert isinstance(error, psycopg.Error)
    assert error.sqlstate == "RSK05"
    assert [governed.status(p) for p in (first, second)] == ["APPLIED", "STALE"]
    assert one(governed.connection, "select count(*) from risk_configurations where valid_to is null") == 1
    assert_healthy(governed.connection)


def test_the_second_of_the_race_wins_if_the_first_rolls_back(governed: Council, connect: Connect) -> None:
    first = governed.propose("risk_config", limits("0.04"), "ada")
    second = governed.propose("risk_config", limits("0.03"), "ben")
    votes = [governed.sign_vote(first, "cyd"), governed.sign_vote(second, "cyd")]
    one_side, other_side = connect(autocommit=False), connect()
    one(one_side, VOTE, votes[0])
    waiting = Background(other_side, VOTE, votes[1]).blocked(governed.connection)
    one_side.rollback()
    assert waiting.result() == [{"status": "APPLIED"}]
    assert one(
        governed.connection, "select max_position_size_pct from risk_configurations where valid_to is null"
    )
    assert [governed.status(p) for p in (first, second)] == ["STALE", "APPLIED"]


def test_two_last_approvals_apply_once(council: Council, connect: Connect) -> None:
    council.enact("agent_enrol", agent("dan") | {"replaces": None}, "ada", "ben", "cyd")
    council.keys["dan"] = private_key("dan")
    proposal_id = council.propose("risk_config", limits(), "ada")
    council.vote(proposal_id, "ben")
    votes = [council.sign_vote(proposal_id, name) for name in ("cyd", "dan")]
    one_side, other_side = connect(autocommit=False), connect()
    assert one(one_side, VOTE, votes[0]) == "APPLIED"
    waiting = Background(other_side, VOTE, votes[1]).blocked(council.connection)
    one_side.commit()
    error = waiting.error()
    assert isinstance(error, psycopg.Error)
    assert error.sqlstate == "RSK06"
    assert one(council.connection, "select count(*) from risk_change_log where kind = 'risk_config'") == 1


@pytest.mark.parametrize("level", [pytest.param("repeatable read", marks=pytest.mark.long), "serializable"])
def test_an_older_snapshot_never_applies(governed: Council, connect: Connect, level: str) -> None:
    first = governed.propose("risk_config", limits("0.04"), "ada")
    second = governed.propose("risk_config", limits("0.03"), "ben")
    vote = governed.sign_vote(second, "cyd")
    old = connect(autocommit=False)
    old.execute(f"set transaction isolation level {level}")
    assert one(old, "select version from active_risk_state()") == 1
    governed.vote(first, "cyd")
    with pytest.raises(psycopg.Error) as caught:
        one(old, VOTE, vote)
    assert caught.value.sqlstate in ("40001", "RSK05")
    old.rollback()
    assert governed.state()["version"] == 2
    assert_healthy(governed.connection)


# --------------------------------------------------------------------------------------------------
# Who may


def test_the_right_to_call_is_app_risks(council: Council, connect: Connect, login_role: LoginRole) -> None:
    risk = council.through(connect(login_role("app_risk")))
    proposal_id = risk.propose("risk_config", limits(), "ada")
    risk.vote(proposal_id, "ben")
    assert risk.vote(proposal_id, "cyd") == "APPLIED"
    assert one(risk.connection, "select status from vw_proposals") == "APPLIED"
    for role in ("app_trading", "app_auditor"):
        other = connect(login_role(role))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            query(other, "select propose(null, null, null, null, null, null, null)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            query(other, "select vote(null, null, null, null, null)")
        assert one(other, "select version from active_risk_state()") == 1
        assert len(query(other, "select * from agent_keys()")) == 3


@pytest.mark.parametrize("role", ["app_risk", "app_trading", "app_auditor"])
def test_only_the_owner_bootstraps(connect: Connect, login_role: LoginRole, role: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        Council(connect(login_role(role))).bootstrap("ada", "ben", "cyd")


def test_nulls_are_refused_and_nothing_breaks(council: Council) -> None:
    with pytest.raises(psycopg.Error) as caught:
        query(council.connection, "select propose(null, null, null, null, null, null, null)")
    assert code_of(caught) == "RSK-003"
    with pytest.raises(psycopg.Error) as caught:
        query(
            council.connection,
            "select propose(gen_random_uuid(), null, null, null, %s, null, null)",
            [agent_id("ada")],
        )
    assert code_of(caught).startswith("RSK-")
    with pytest.raises(psycopg.Error) as caught:
        query(council.connection, "select vote(null, null, null, null, null)")
    assert code_of(caught) == "RSK-006"


def test_a_threshold_for_a_widened_symbol_needs_a_widened_asset(governed: Council) -> None:
    option = threshold("BTC-27NOV26-120000-C-USDT")
    with pytest.raises(psycopg.Error) as caught:
        governed.propose("asset_kill_threshold", option, "ada")
    assert code_of(caught) == "RSK-001"
    with governed.connection.transaction():
        query(governed.connection, "set local alpha.maintenance = 'options'")
        query(governed.connection, "select widen_column('risk_asset_kill_thresholds', 'asset', 40)")
    governed.enact("asset_kill_threshold", option, "ada", "ben")
    assert changed_guards(governed.connection) == []
