"""The replay in Python finds every falsified part of a signed history, without a database."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alpha_db.errors import RiskTampered
from alpha_db.security.config_integrity import IntegrityChecker, Verified
from alpha_db.security.evidence import AgentKey, LockdownEvent
from alpha_db.security.replay import Policy
from alpha_db.security.state import RiskState
from tests.risk.council import PLACE, agent, agent_id, limits, private_key, public_hex, threshold
from tests.risk.signed_history import NOON, Book, governed_book, sha, state_text

BTC = '{"asset":"BTC","kill_loss_pct":0.1000,"kill_price":null}'
LOOSER = limits("0.06")


RELEASE = {"damage": [PLACE]}


def check(book: Book, **changes: Any) -> Verified:
    return IntegrityChecker().check(book.reading(**changes))


def test_a_history_of_every_kind_holds() -> None:
    book = governed_book()
    now = "0.0500 0.0300 2.00"
    book.apply("asset_kill_threshold", threshold(), "ben", "ada", to=state_text(2, now, BTC))
    book.apply(
        "agent_enrol", agent("dan") | {"replaces": None}, "ada", "ben", "cyd", to=state_text(3, now, BTC)
    )
    book.enrol("dan", "x")
    book.apply(
        "quorum_policy",
        {"tighten": 2, "loosen": 3, "govern": 2},
        "dan",
        "ada",
        "ben",
        to=state_text(4, now, BTC),
    )
    book.apply(
        "agent_revoke", {"agent_id": str(agent_id("cyd"))}, "ada", "ben", "dan", to=state_text(5, now, BTC)
    )
    book.revoke("cyd")
    book.apply(
        "asset_kill_threshold",
        threshold(loss="0.05", price="30000"),
        "ada",
        "ben",
        "dan",
        to=state_text(6, now, '{"asset":"BTC","kill_loss_pct":0.0500,"kill_price":30000.0000000000}'),
    )
    # three are left: to replace ben there is one voter, and one is enough
    book.apply(
        "agent_enrol",
        agent("eve") | {"replaces": str(agent_id("ben"))},
        "ada",
        "dan",
        to=state_text(7, now, '{"asset":"BTC","kill_loss_pct":0.0500,"kill_price":30000.0000000000}'),
    )
    book.enrol("eve", "x")
    book.revoke("ben")
    book.enrol("fay", "x")
    book.apply(
        "agent_enrol",
        agent("fay") | {"replaces": None},
        "ada",
        "dan",
        "eve",
        to=book.text.replace(":7,", ":8,"),
    )
    book.apply("lockdown_release", RELEASE, "ada", "dan", "eve", "fay", to=book.text.replace(":8,", ":9,"))
    verified = check(book)
    assert verified.replay.policy == Policy(2, 3, 2)
    assert set(verified.replay.active) == {str(agent_id(n)) for n in ("ada", "dan", "eve", "fay")}
    assert verified.replay.releases == 1
    assert verified.state == RiskState.parse(book.text)
    assert IntegrityChecker(book.pins, origin=book.origin).check(book.reading()).state == verified.state


def vote_of(book: Book, **changes: Any) -> str:
    votes = json.loads(book.changes[0].approvals)
    votes[0] |= changes
    return json.dumps(votes)


def swapped(book: Book) -> str:
    votes = json.loads(book.changes[0].approvals)
    votes[0]["signature"], votes[1]["signature"] = votes[1]["signature"], votes[0]["signature"]
    return json.dumps(votes)


def first_vote_twice(book: Book) -> str:
    return json.dumps(json.loads(book.changes[0].approvals)[:1] * 2)


MALLORY = public_hex(private_key("mallory"))
EDITS: dict[str, Callable[[Book], dict[str, Any]]] = {
    "version": lambda _: {"version": 2},
    "kind": lambda _: {"kind": "quorum_policy"},
    "previous": lambda _: {"previous": "0" * 64},
    "state text": lambda _: {"state_text": state_text(1, "0.5000 0.0300 2.00")},
    "state text and hash": lambda _: {
        "state_text": state_text(1, "0.5000 0.0300 2.00"),
        "state_hash": sha(state_text(1, "0.5000 0.0300 2.00")),
    },
    "state hash": lambda _: {"state_hash": sha("x")},
    "proposal text": lambda b: {"proposal_text": b.changes[0].proposal_text.replace('"0.05"', '"0.5"')},
    "proposal text and payload": lambda b: {
        "proposal_text": b.changes[0].proposal_text.replace('"0.05"', '"0.5"'),
        "payload": b.changes[0].payload.replace('"0.05"', '"0.5"'),
    },
    "proposer": lambda _: {"proposer": str(agent_id("cyd"))},
    "proposer's key": lambda _: {"proposer_key": MALLORY},
    "proposal's signature": lambda _: {"proposal_signature": "0" * 128},
    "proposal's signature, cut": lambda b: {"proposal_signature": b.changes[0].proposal_signature[:-2]},
    "no signature": lambda _: {"proposal_signature": None},
    "reason": lambda _: {"reason": "another"},
    "payload": lambda b: {"payload": b.changes[0].payload.replace("0.05", "0.06")},
    "approved_by": lambda _: {"approved_by": str(agent_id("ada"))},
    "an approval less": lambda b: {"approvals": json.dumps(json.loads(b.changes[0].approvals)[:1])},
    "no approval": lambda _: {"approvals": "[]"},
    "approvals null": lambda _: {"approvals": None},
    "signatures swapped": lambda b: {"approvals": swapped(b)},
    "one counted twice": lambda b: {
        "approvals": first_vote_twice(b),
        "approved_by": str(agent_id("ben")),
    },
    "the proposer's own": lambda b: {"approvals": vote_of(b, agent_id=str(agent_id("ada")))},
    "an unknown agent's": lambda b: {"approvals": vote_of(b, agent_id=str(agent_id("mallory")))},
    "another time": lambda b: {"approvals": vote_of(b, signed_at="2026-01-25T12:00:00.000001Z")},
    "another key": lambda b: {"approvals": vote_of(b, public_key=MALLORY)},
    "another signature": lambda b: {"approvals": vote_of(b, signature="ab" * 64)},
    "not JSON": lambda _: {"approvals": "["},
    "of another shape": lambda _: {"approvals": '{"a": 1}'},
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edited_entry_is_found(edit: Callable[[Book], dict[str, Any]]) -> None:
    book = governed_book()
    check(book)
    book.edit(1, **edit(book))
    with pytest.raises(RiskTampered, match="RSK-007"):
        check(book)


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        ({"approvals": "5"}, "no list of votes"),
        ({"approvals": '[{"agent_id": null}]'}, "no list of votes"),
        ({"applied_at": "infinity"}, "infinity is no time of application"),
    ],
)
def test_what_is_wrong_is_told_in_words(edit: dict[str, Any], problem: str) -> None:
    book = governed_book()
    book.edit(1, **edit)
    with pytest.raises(RiskTampered, match=problem):
        check(book)


def test_an_edited_entry_is_found_by_a_checker_that_has_seen_the_true_one() -> None:
    book = governed_book()
    checker = IntegrityChecker()
    checker.check(book.reading())
    book.edit(1, proposal_signature="0" * 128)
    with pytest.raises(RiskTampered, match="signature"):
        checker.check(book.reading())


# What an installation's own agents sign, and the rules forbid nevertheless.


def unsigned(book: Book) -> None:
    book.apply(
        "risk_config",
        LOOSER,
        "ada",
        "ben",
        "cyd",
        to=state_text(2, "0.0600 0.0300 2.00"),
        signers={"ada": "ben"},
    )


def loosened_by_one(book: Book) -> None:
    book.apply("risk_config", LOOSER, "ada", "ben", to=state_text(2, "0.0600 0.0300 2.00"))


def by_nobody_else(book: Book) -> None:
    book.apply("risk_config", limits("0.01"), "ada", to=state_text(2, "0.0100 0.0300 2.00"))


def released_by_one(book: Book) -> None:
    book.apply("lockdown_release", RELEASE, "ada", "ben", to=state_text(2, "0.0500 0.0300 2.00"))


def voted_by_the_revoked(book: Book) -> None:
    text = state_text(2, "0.0500 0.0300 2.00")
    book.apply("agent_revoke", {"agent_id": str(agent_id("cyd"))}, "ada", "ben", to=text)
    book.revoke("cyd")
    book.apply("risk_config", LOOSER, "ada", "ben", "cyd", to=state_text(3, "0.0600 0.0300 2.00"))


def voted_on_itself(book: Book) -> None:
    text = state_text(2, "0.0500 0.0300 2.00")
    book.apply("agent_revoke", {"agent_id": str(agent_id("cyd"))}, "ada", "ben", "cyd", to=text)
    book.revoke("cyd")


def approved_after_its_end(book: Book) -> None:
    book.apply(
        "risk_config",
        LOOSER,
        "ada",
        "ben",
        "cyd",
        to=state_text(2, "0.0600 0.0300 2.00"),
        signed_at=NOON + timedelta(hours=1, minutes=7),
    )


def out_of_bounds(book: Book) -> None:
    book.apply("risk_config", limits("1.5"), "ada", "ben", "cyd", to=state_text(2, "1.5000 0.0300 2.00"))


def rounded(book: Book) -> None:
    book.apply("risk_config", limits("0.00001"), "ada", "ben", "cyd", to=state_text(2, "0.0000 0.0300 2.00"))


def nan(book: Book) -> None:
    book.apply("risk_config", limits("NaN"), "ada", "ben", "cyd", to=state_text(2, "0.0500 0.0300 2.00"))


def more_members(book: Book) -> None:
    book.apply(
        "risk_config", limits() | {"extra": "1"}, "ada", "ben", "cyd", to=state_text(2, "0.0500 0.0300 2.00")
    )


def quorum_of_one(book: Book) -> None:
    policy = {"tighten": 1, "loosen": 1, "govern": 2}
    book.apply("quorum_policy", policy, "ada", "ben", "cyd", to=state_text(2, "0.0500 0.0300 2.00"))


def impossible_quorum(book: Book) -> None:
    policy = {"tighten": 1, "loosen": 3, "govern": 2}
    book.apply("quorum_policy", policy, "ada", "ben", "cyd", to=state_text(2, "0.0500 0.0300 2.00"))


def weak_key(book: Book) -> None:
    weak = agent("dan") | {"replaces": None, "public_key": "01" + "00" * 31}
    book.apply("agent_enrol", weak, "ada", "ben", "cyd", to=state_text(2, "0.0500 0.0300 2.00"))


def old_key(book: Book) -> None:
    same = agent("dan") | {"replaces": None, "public_key": public_hex(private_key("cyd"))}
    book.apply("agent_enrol", same, "ada", "ben", "cyd", to=state_text(2, "0.0500 0.0300 2.00"))


def another_installation(book: Book) -> None:
    text, elsewhere = state_text(2, "0.0100 0.0300 2.00"), "99999999-2222-4333-8444-555555555555"
    book.apply("risk_config", limits("0.01"), "ada", "ben", to=text, origin=elsewhere)


def signed_by_a_stranger(book: Book) -> None:
    book.keys["mallory"] = private_key("mallory")
    book.apply("risk_config", limits("0.01"), "mallory", "ben", to=state_text(2, "0.0100 0.0300 2.00"))


def revoked_twice(book: Book) -> None:
    for version in (2, 3):
        text = state_text(version, "0.0500 0.0300 2.00")
        book.apply("agent_revoke", {"agent_id": str(agent_id("cyd"))}, "ada", "ben", to=text)
    book.revoke("cyd")


def stale(book: Book) -> None:
    kept = book.text
    book.text = state_text(0)
    book.apply("risk_config", limits("0.01"), "ada", "ben", to=state_text(2, "0.0100 0.0300 2.00"))
    assert kept != book.text


FORBIDDEN = [
    unsigned,
    loosened_by_one,
    by_nobody_else,
    released_by_one,
    voted_by_the_revoked,
    voted_on_itself,
    approved_after_its_end,
    out_of_bounds,
    rounded,
    nan,
    more_members,
    quorum_of_one,
    impossible_quorum,
    weak_key,
    old_key,
    another_installation,
    signed_by_a_stranger,
    revoked_twice,
    stale,
]


@pytest.mark.parametrize("act", FORBIDDEN, ids=lambda act: act.__name__)
def test_a_forbidden_change_is_found_though_its_state_is_consistent(act: Callable[[Book], None]) -> None:
    book = governed_book()
    act(book)
    with pytest.raises(RiskTampered, match=f"change {len(book.changes)} does not hold"):
        check(book)


# Around the log: the state that is handed out, the agents, what is missing.


def test_the_state_must_be_the_log_s() -> None:
    book = governed_book()
    text = state_text(1, "0.5000 0.0300 2.00")
    with pytest.raises(RiskTampered, match="not the one that the agents approved"):
        check(book, active=(replace(book.active(), state_text=text, state_hash=sha(text)),))
    with pytest.raises(RiskTampered, match="hash is not that of its text"):
        check(book, active=(replace(book.active(), state_hash=sha("x")),))
    with pytest.raises(RiskTampered, match="approved"):
        check(book, active=(replace(book.active(), version=2),))
    with pytest.raises(RiskTampered, match="hold from"):
        check(book, active=(replace(book.active(), limits_valid_from=NOON),))


@pytest.mark.parametrize(
    "text",
    [
        state_text(1, "NaN 0.0300 2.00"),
        state_text(1, "null 0.0300 2.00"),
        state_text(1, "x 0.0300 2.00").replace(":x,", ":,"),
        state_text(1, "1.0001 0.0300 2.00"),
        state_text(1, "-0.0100 0.0300 2.00"),
        state_text(1, "0.05 0.0300 2.00"),
        state_text(1, "0.0500 0.0300 100.01"),
        state_text(1, '"0.0500" 0.0300 2.00'),
        state_text(1, "0.0500 0.0300 2.00", BTC.replace("0.1000", "NaN")),
        state_text(1, "0.0500 0.0300 2.00", BTC.replace("null", "0.0000000000")),
        state_text(1, "0.0500 0.0300 2.00", f"{BTC},{BTC}"),
        "[]",
        "",
        None,
    ],
)
def test_a_state_with_impossible_values_is_refused(text: str | None) -> None:
    book = governed_book()
    active = replace(book.active(), state_text=text, state_hash=sha(text or ""))  # type: ignore[arg-type]
    with pytest.raises(RiskTampered, match="cannot be read"):
        check(book, active=(active,))


def test_no_state_and_two_states_are_refused() -> None:
    book = governed_book()
    for active in ((), (book.active(), book.active())):
        with pytest.raises(RiskTampered, match="current states instead of one"):
            check(book, active=active)


def test_the_log_s_end_and_middle_must_be_there() -> None:
    book = governed_book()
    book.apply("risk_config", limits("0.01"), "ada", "ben", to=state_text(2, "0.0100 0.0300 2.00"))
    for changes in (book.changes[:1], book.changes[1:], [*book.changes, book.changes[1]]):
        with pytest.raises(RiskTampered):
            check(book, changes=tuple(changes))


def test_the_agents_must_be_those_of_the_log() -> None:
    book = governed_book()
    ada, ben, cyd = book.agents
    another = replace(cyd, public_key=MALLORY)
    for agents in (
        [ada, ben],
        [ada, ben, another],
        [ada, ben, replace(cyd, revoked=True)],
        [ada, ben, cyd, cyd],
        [ada, ben, cyd, replace(another, agent_id=str(agent_id("mallory")), proposal_id="x")],
        [ada, ben, replace(cyd, proposal_id="x")],
    ):
        with pytest.raises(RiskTampered):
            check(book, agents=tuple(agents))


def test_the_database_s_own_agents_are_not_believed_when_keys_are_pinned() -> None:
    truth, forged = governed_book(), Book.of("mallory", "trudy", "oscar")
    forged.apply("risk_config", LOOSER, "mallory", "trudy", "oscar", to=state_text(1, "0.0600 0.0300 2.00"))
    assert check(forged), "without pins nothing in it is wrong"
    with pytest.raises(RiskTampered, match="pinned"):
        IntegrityChecker(truth.pins).check(forged.reading())
    checker = IntegrityChecker()
    checker.check(truth.reading())
    with pytest.raises(RiskTampered, match="first look"):
        checker.check(forged.reading())


def test_a_missing_agent_of_the_bootstrap_is_found_by_its_pin() -> None:
    book = governed_book()
    pins = book.pins | {str(agent_id("dan")): bytes.fromhex(public_hex(private_key("dan")))}
    with pytest.raises(RiskTampered, match=str(agent_id("dan"))):
        IntegrityChecker(pins).check(book.reading())


def test_a_later_agent_can_be_pinned_as_well() -> None:
    book = governed_book()
    text = state_text(2, "0.0500 0.0300 2.00")
    book.apply("agent_enrol", agent("dan") | {"replaces": None}, "ada", "ben", "cyd", to=text)
    book.enrol("dan", "x")
    assert IntegrityChecker(book.pins).check(book.reading())
    pins = book.pins | {str(agent_id("dan")): bytes.fromhex(MALLORY)}
    with pytest.raises(RiskTampered, match=r"key of agent .* is not the pinned one"):
        IntegrityChecker(pins).check(book.reading())


def test_agents_of_the_bootstrap_have_keys_of_their_own() -> None:
    book = governed_book()
    ada, ben, cyd = book.agents
    for agents in (
        [ada, ben, replace(cyd, public_key=ben.public_key)],
        [ada, ben, replace(cyd, agent_id="cyd")],
    ):
        with pytest.raises(RiskTampered, match="share a key, or one has no identity"):
            check(book, agents=tuple(agents))


def test_another_installation_is_refused() -> None:
    with pytest.raises(RiskTampered, match="installation"):
        IntegrityChecker(origin="99999999-2222-4333-8444-555555555555").check(governed_book().reading())


def test_a_partial_read_continues_only_what_was_seen() -> None:
    book = governed_book()
    checker = IntegrityChecker()
    with pytest.raises(RiskTampered):
        checker.check(book.reading(since=1))
    checker.check(book.reading())
    assert checker.check(book.reading(since=1)).state.version == 1
    book.apply("risk_config", limits("0.01"), "ada", "ben", to=state_text(2, "0.0100 0.0300 2.00"))
    assert checker.check(book.reading(since=1)).state.version == 2
    assert checker.version == 2
    with pytest.raises(RiskTampered):
        checker.check(book.reading(since=1))
    assert checker.check(book.reading()).state.version == 2


def test_verify_config_integrity_compares_a_configuration() -> None:
    book = governed_book()
    checker = IntegrityChecker(read=book.reading)
    verified = check(book)
    limits_held = verified.state.limits
    assert limits_held is not None
    for good in (
        verified.state,
        book.text,
        vars(limits_held),
        vars(limits_held) | {"reason_for_change": "x"},
    ):
        assert checker.verify_config_integrity(good)
    for bad in (
        replace(verified.state, version=2),
        state_text(1, "0.5000 0.0300 2.00"),
        "",
        {},
        vars(limits_held) | {"max_leverage_ratio": 100},
    ):
        assert not checker.verify_config_integrity(bad)
        assert checker.problem is not None
        assert checker.problem.code == "RSK-007"


def test_verify_config_integrity_says_no_when_it_cannot_check() -> None:
    def fail() -> Any:
        raise RuntimeError("no network")

    for checker in (IntegrityChecker(), IntegrityChecker(read=fail)):
        assert not checker.verify_config_integrity(governed_book().text)
        assert checker.problem is not None
        assert checker.problem.code is None


# --------------------------------------------------------------------------------------------------
# The bootstrap's signatures, and the lockdown's events


def resigned(book: Book, **changes: Any) -> tuple[AgentKey, ...]:
    """The signed agents, cyd's row altered afterwards."""
    ada, ben, cyd = book.signed()
    return ada, ben, replace(cyd, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"signature": None},
        {"signature": "00" * 64},
        {"signature": "x"},
        {"name": "mallory"},
        {"role": "chief"},
        {"public_key": MALLORY},
        {"agent_id": str(agent_id("mallory"))},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_without_pins_every_agent_must_have_signed_the_bootstrap(changes: dict[str, Any]) -> None:
    book = Book.of("ada", "ben", "cyd")
    assert check(book)
    with pytest.raises(RiskTampered):
        check(book, agents=resigned(book, **changes))


def test_a_bootstrap_of_two_is_none() -> None:
    with pytest.raises(RiskTampered, match="2 agents instead of 3"):
        check(Book.of("ada", "ben"))


def test_an_agent_more_in_the_bootstrap_is_found() -> None:
    book = Book.of("ada", "ben", "cyd")
    honest = book.signed()
    book.enrol("mallory")
    with pytest.raises(RiskTampered, match="did not sign the bootstrap"):
        check(book, agents=(*honest, book.signed()[-1]))


def test_name_and_role_of_a_later_agent_are_those_of_its_proposal() -> None:
    book = governed_book()
    text = state_text(2, "0.0500 0.0300 2.00")
    book.apply("agent_enrol", agent("dan") | {"replaces": None}, "ada", "ben", "cyd", to=text)
    book.enrol("dan", "x")
    assert check(book)
    *others, dan = book.signed()
    for altered in (replace(dan, name="ada"), replace(dan, role="chief")):
        with pytest.raises(RiskTampered, match="name or role"):
            check(book, agents=(*others, altered))


def released_book() -> Book:
    book = governed_book()
    book.apply("lockdown_release", RELEASE, "ada", "ben", "cyd", to=book.text.replace(":1,", ":2,"))
    return book


def test_an_approved_release_lifts_the_lockdown() -> None:
    assert check(released_book()).is_locked is False


@pytest.mark.parametrize(
    "changes",
    [{"proposal_id": None}, {"proposal_id": str(agent_id("x"))}, {"damage_hash": "0" * 64}],
    ids=["of nothing", "of another proposal", "of other damage"],
)
def test_a_released_event_that_no_proposal_made_is_found(changes: dict[str, Any]) -> None:
    book = released_book()
    book.events = [replace(book.events[0], **changes)]
    with pytest.raises(RiskTampered, match="lockdown event 2"):
        check(book)


def test_a_release_is_used_by_one_event() -> None:
    book = released_book()
    book.events.append(replace(book.events[0], event_id=4))
    with pytest.raises(RiskTampered, match="lockdown event 4"):
        check(book)


def test_a_release_without_an_event_is_found() -> None:
    book = released_book()
    book.events = [LockdownEvent(7, 1, "ENGAGED", 7)]
    with pytest.raises(RiskTampered, match="left no event"):
        check(book)


@pytest.mark.parametrize(
    "events",
    [
        [LockdownEvent(8)],
        [LockdownEvent(8, 1, "ENGAGED", 8)],
        [LockdownEvent(None, 1, "ENGAGED", 8)],
    ],
    ids=["an alarm without an event", "engaged", "engaged, and the alarm taken back"],
)
def test_that_there_is_no_lockdown_is_not_believed(events: list[LockdownEvent]) -> None:
    book = governed_book()
    book.events = events
    assert check(book).is_locked is True


def test_a_release_of_an_earlier_alarm_lifts_no_later_one() -> None:
    book = released_book()
    book.events = [replace(book.events[0], alarm=9)]
    assert check(book).is_locked is True


def test_without_evidence_nothing_is_said_of_the_lockdown() -> None:
    with pytest.raises(RiskTampered, match="not known"):
        check(governed_book(), lockdown=())


def test_limits_hold_from_after_the_version_before() -> None:
    """The clock was set back between two changes."""
    book = governed_book()
    book.apply("risk_config", limits("0.01"), "ada", "ben", to=state_text(2, "0.0100 0.0300 2.00"))
    earlier = book.changes[0].applied_at
    book.edit(2, applied_at=earlier)
    book.limits_since = earlier + timedelta(microseconds=1)
    assert check(book).limits_valid_from == book.limits_since
    book.limits_since = earlier
    with pytest.raises(RiskTampered, match="hold from"):
        check(book)
