"""What one agent tries that has its own key, and what a quorum can."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.risk.council import Payload, agent, agent_id, limits, soon, threshold
from tests.support import one, query
from tests.tampering.catalogue import Outcome, Section
from tests.tampering.outcomes import guardrail, harmless, not_found, refused, told
from tests.tampering.stage import Stage

agents = Section(
    "agent",
    "One agent",
    "An agent, or anyone who has its key, with a login in `app_risk`.",
    "risk",
)
does = agents.does


def enrol(name: str, **others: object) -> Payload:
    return agent(name) | {"replaces": None} | others


def revoke(name: str) -> Payload:
    return {"agent_id": str(agent_id(name))}


def proposes(name: str, what: str, kind: str, payload: Payload, *outcomes: Outcome) -> None:
    """An attack that is one signed proposal of ada's."""

    def run(stage: Stage) -> None:
        stage.council.propose(kind, payload, "ada")

    run.__name__ = name.replace("-", "_")
    does(what, *outcomes)(run)


# ----------------------------------------------------------------------------------------------------
# Its own votes


@does("Approves its own proposal", refused("RSK-004"))
def approves_its_own(stage: Stage) -> None:
    stage.council.vote(stage.council.propose("risk_config", limits("0.9"), "ada"), "ada")


@does("Votes twice", refused("RSK-004"))
def votes_twice(stage: Stage) -> None:
    proposal_id = stage.honest.propose("risk_config", limits("0.9"), "ada")
    for _ in range(2):
        stage.council.vote(proposal_id, "ben")


@does("Votes on its own revocation", refused("RSK-004"))
def votes_on_its_revocation(stage: Stage) -> None:
    stage.council.vote(stage.honest.propose("agent_revoke", revoke("cyd"), "ada"), "cyd", "REJECT")


@does("Votes on its own replacement", refused("RSK-004"))
def votes_on_its_replacement(stage: Stage) -> None:
    proposal_id = stage.honest.propose("agent_enrol", enrol("eve", replaces=str(agent_id("cyd"))), "ada")
    stage.council.vote(proposal_id, "cyd", "REJECT")


@does("Abstains by a decision of its own making", refused("RSK-004"))
def abstains(stage: Stage) -> None:
    stage.council.vote(stage.honest.propose("risk_config", limits("0.9"), "ada"), "ben", "ABSTAIN")


@does("Dates its vote in the future", refused("RSK-003"))
def dates_its_vote_ahead(stage: Stage) -> None:
    proposal_id = stage.honest.propose("risk_config", limits("0.9"), "ada")
    stage.council.vote(proposal_id, "ben", signed_at=datetime.now(UTC) + timedelta(days=1))


@does("Dates its vote at the end of time", refused("RSK-003"))
def dates_its_vote_at_infinity(stage: Stage) -> None:
    stage.council.vote(stage.honest.propose("risk_config", limits("0.9"), "ada"), "ben", signed_at="infinity")


@does("Votes on a proposal after it was applied", refused("RSK-006"))
def votes_after_the_end(stage: Stage) -> None:
    stage.council.vote(stage.honest.enact("risk_config", limits("0.02"), "ada", "ben"), "cyd", "REJECT")


@does("Votes on a proposal that was made for an earlier state", refused("RSK-005"))
def votes_on_a_stale_proposal(stage: Stage) -> None:
    proposal_id = stage.honest.propose("risk_config", limits("0.9"), "ada")
    stage.honest.enact("risk_config", limits("0.02"), "ben", "cyd")
    stage.council.vote(proposal_id, "ben")


@does("Approves what another agent has vetoed", refused("RSK-006"))
def overrides_a_veto(stage: Stage) -> None:
    proposal_id = stage.honest.propose("risk_config", limits("0.9"), "ada")
    stage.honest.vote(proposal_id, "cyd", "REJECT")
    stage.council.vote(proposal_id, "ben")


# ----------------------------------------------------------------------------------------------------
# Alone


def _pending(stage: Stage) -> None:
    assert one(stage.db, "select version from active_risk_state()") == stage.notes["version"]
    assert stage.council.status(stage.notes["proposal"]) == "PENDING"


def _alone(name: str, what: str, kind: str, payload: Payload) -> None:
    def run(stage: Stage) -> None:
        stage.notes["version"] = one(stage.db, "select version from active_risk_state()")
        stage.notes["proposal"] = stage.council.propose(kind, payload, "ada")

    run.__name__ = name.replace("-", "_")
    does(what, harmless("it stays pending until another agent approves", _pending))(run)


_alone("loosens-alone", "Loosens a limit alone", "risk_config", limits("0.9"))
_alone("tightens-alone", "Sets all limits to zero alone", "risk_config", limits("0", "0", "0"))
_alone("revokes-alone", "Revokes another agent alone", "agent_revoke", revoke("cyd"))
_alone("enrols-alone", "Enrols an agent of its own alone", "agent_enrol", enrol("eve"))
_alone(
    "lowers-the-quorum-alone",
    "Changes the quorum alone",
    "quorum_policy",
    {"tighten": 1, "loosen": 2, "govern": 2},
)


@does("Enrols itself again under another name, to have two votes", refused("RSK-003"))
def enrols_itself_twice(stage: Stage) -> None:
    stage.council.propose("agent_enrol", enrol("eve", public_key=agent("ada")["public_key"]), "ada")


@does("Brings back the key of an agent that was revoked", refused("RSK-003"))
def brings_a_key_back(stage: Stage) -> None:
    stage.council.propose("agent_enrol", enrol("eve", public_key=agent("dan")["public_key"]), "ada")


@does("Proposes after it was revoked", refused("RSK-003"))
def proposes_when_revoked(stage: Stage) -> None:
    stage.council.propose("risk_config", limits("0.01"), "dan")


@does("Votes after it was revoked", refused("RSK-003"))
def votes_when_revoked(stage: Stage) -> None:
    stage.council.vote(stage.honest.propose("risk_config", limits("0.01"), "ada"), "dan")


@does("Is revoked, and has its earlier approval counted", refused("RSK-005"))
def has_an_approval_counted(stage: Stage) -> None:
    proposal_id = stage.honest.propose("risk_config", limits("0.9"), "ada")
    stage.council.vote(proposal_id, "cyd")
    vote = stage.council.sign_vote(proposal_id, "ben")
    stage.honest.enact("agent_revoke", revoke("cyd"), "ada", "ben")
    stage.council.send_vote(vote)


# ----------------------------------------------------------------------------------------------------
# Payloads

WEAK = refused("RSK-003")
proposes(
    "enrols-a-key-of-zeros", "Enrols a key of zeros", "agent_enrol", enrol("eve", public_key="00" * 32), WEAK
)
proposes(
    "enrols-a-small-key",
    "Enrols a key of small order, for which signatures can be made up",
    "agent_enrol",
    enrol("eve", public_key="26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    WEAK,
)
proposes(
    "enrols-an-unclear-key",
    "Enrols a key that is not in canonical form",
    "agent_enrol",
    enrol("eve", public_key="ee" + "ff" * 30 + "7f"),
    WEAK,
)
WRONG = refused("RSK-001")
proposes("proposes-nan", "Proposes NaN as a limit", "risk_config", limits("NaN"), WRONG)
proposes("proposes-infinity", "Proposes an infinite limit", "risk_config", limits(leverage="Infinity"), WRONG)
proposes(
    "proposes-too-much", "Proposes a position of more than 100 %", "risk_config", limits("1.0001"), WRONG
)
proposes("proposes-a-negative", "Proposes a negative limit", "risk_config", limits("-0.01"), WRONG)
proposes(
    "proposes-lost-digits",
    "Proposes a limit with more digits than the column holds",
    "risk_config",
    limits("0.00001"),
    WRONG,
)
proposes("proposes-an-exponent", "Proposes a limit with an exponent", "risk_config", limits("1e-2"), WRONG)
proposes(
    "proposes-other-digits",
    "Proposes a limit in digits of another script",
    "risk_config",
    limits("٠.٥"),
    WRONG,
)
proposes(
    "proposes-one-more-member",
    "Proposes with a member that nobody looks at",
    "risk_config",
    limits() | {"more": "1"},
    WRONG,
)
proposes(
    "proposes-one-member-less",
    "Proposes some of the limits only",
    "risk_config",
    {"max_leverage_ratio": "1"},
    WRONG,
)
proposes(
    "hides-a-direction",
    "Names an asset with a character that turns the text around",
    "asset_kill_threshold",
    threshold("BT\u202eC"),
    WRONG,
)
proposes(
    "proposes-no-quorum",
    "Proposes a quorum of none",
    "quorum_policy",
    {"tighten": 0, "loosen": 2, "govern": 2},
    WRONG,
)
proposes(
    "proposes-an-easy-loosening",
    "Proposes that loosening shall need one approval",
    "quorum_policy",
    {"tighten": 1, "loosen": 1, "govern": 2},
    WRONG,
)
proposes(
    "proposes-an-impossible-quorum",
    "Proposes a quorum of more agents than there are, so that nothing changes any more",
    "quorum_policy",
    {"tighten": 3, "loosen": 9, "govern": 9},
    WRONG,
)


@does("Hides a character in the reason", WRONG)
def hides_a_character(stage: Stage) -> None:
    stage.council.propose("risk_config", limits("0.01"), "ada", reason="fine\u200b")


@does("Gives no reason", WRONG)
def gives_no_reason(stage: Stage) -> None:
    stage.council.propose("risk_config", limits("0.01"), "ada", reason=" ")


@does("Proposes what has expired", refused("RSK-006"))
def proposes_the_expired(stage: Stage) -> None:
    stage.council.propose("risk_config", limits("0.01"), "ada", expires_at=soon(-1))


@does("Proposes what never expires", refused("RSK-006"))
def proposes_for_ever(stage: Stage) -> None:
    stage.council.propose("risk_config", limits("0.01"), "ada", expires_at="infinity")


# ----------------------------------------------------------------------------------------------------
# Lockdown


@does("Loosens a limit in a lockdown", refused("AUD-009"), begins="locked")
def loosens_in_a_lockdown(stage: Stage) -> None:
    stage.council.propose("risk_config", limits("0.9"), "ada")


@does("Has loosening applied in a lockdown that was proposed before", refused("AUD-009"))
def loosens_from_before(stage: Stage) -> None:
    proposal_id = stage.council.propose("risk_config", limits("0.9"), "ada")
    stage.honest.vote(proposal_id, "ben")
    vote = stage.council.sign_vote(proposal_id, "cyd")
    stage.lock_down()
    stage.council.send_vote(vote)


@does(
    "Releases the lockdown alone",
    told(
        "`lockdown_status()`",
        "still engaged; a release needs two more agents",
        "select is_locked from lockdown_status()",
    ),
    begins="locked",
)
def releases_alone(stage: Stage) -> None:
    proposal_id = stage.council.propose("lockdown_release", {"damage": stage.open_damage()}, "ada")
    assert stage.council.vote(proposal_id, "ben") == "PENDING"


@does(
    "Vetoes everything",
    told(
        "`votes`",
        "signed, append-only, chained; the others can vote it out, and it has no vote on that",
        "select count(*) = 1 from votes where decision = 'REJECT'",
    ),
)
def vetoes_everything(stage: Stage) -> None:
    stage.council.vote(stage.honest.propose("risk_config", limits("0.01"), "ada"), "ben", "REJECT")
    stage.honest.enact("agent_revoke", revoke("ben"), "ada", "cyd")


def _releases(stage: Stage, damage: list[Payload]) -> None:
    stage.council.propose("lockdown_release", {"damage": damage}, "ada")


@does(
    "Lists a healthy row in a release, so that a later change of it is acknowledged",
    refused("RSK-005"),
    begins="locked",
)
def lists_a_healthy_row(stage: Stage) -> None:
    healthy = query(stage.db, "select row_hash from signals where id = 4")[0]["row_hash"]
    item = {
        "table": "signals",
        "id": 4,
        "verdict": "content_mismatch",
        "actual_hash": healthy,
        "expected_hash": healthy,
    }
    _releases(stage, [*stage.open_damage(), item])


@does("Leaves damage out of a release", refused("RSK-005"), begins="locked")
def leaves_damage_out(stage: Stage) -> None:
    stage.damage("ai_debates", 3)
    _releases(stage, [item for item in stage.open_damage() if item["table"] == "signals"])


@does("Lists other hashes in a release than those that are there", refused("RSK-005"), begins="locked")
def lists_other_hashes(stage: Stage) -> None:
    _releases(stage, [item | {"expected_hash": "0" * 64} for item in stage.open_damage()])


@does("Releases a lockdown that there is not", refused("RSK-005"))
def releases_nothing(stage: Stage) -> None:
    _releases(stage, [])


@does("Has a release applied after more damage was made", refused("RSK-005"), begins="locked")
def releases_too_late(stage: Stage) -> None:
    proposal_id = stage.council.propose("lockdown_release", {"damage": stage.open_damage()}, "ada")
    stage.honest.vote(proposal_id, "ben")
    stage.damage("ai_debates", 3)
    stage.council.vote(proposal_id, "cyd")


@does(
    "Releases the lockdown in a snapshot that does not show the newest damage",
    refused("0A000"),
    begins="locked",
)
def releases_in_an_old_snapshot(stage: Stage) -> None:
    proposal_id = stage.council.propose("lockdown_release", {"damage": stage.open_damage()}, "ada")
    stage.honest.vote(proposal_id, "ben")
    vote = stage.council.sign_vote(proposal_id, "cyd")
    old = stage.session("risk", autocommit=False)
    old.execute("set transaction isolation level repeatable read")
    stage.council.through(old).send_vote(vote)


# ----------------------------------------------------------------------------------------------------
# Much, and times that nobody can read back


@does("Fills the proposals with its own", refused("RSK-006"))
def floods_the_proposals(stage: Stage) -> None:
    for _ in range(21):
        stage.council.propose("risk_config", limits("0.01"), "cyd")


@does("Dates its vote before Christ, so that no client can read it back", refused("RSK-003"))
def dates_its_vote_before_christ(stage: Stage) -> None:
    stage.council.vote(
        stage.honest.propose("risk_config", limits("0.9"), "ada"),
        "ben",
        signed_at="0044-03-15 00:00:00+00 BC",
    )


@does("Lets its proposal expire in the year 20000, so that no client can read it back", refused("RSK-006"))
def expires_in_the_year_20000(stage: Stage) -> None:
    stage.council.propose("risk_config", limits("0.9"), "ada", expires_at="20000-01-01 00:00:00+00")


@does("Proposes an exponent with `standard_conforming_strings` off", WRONG)
def proposes_with_other_strings(stage: Stage) -> None:
    stage.me.execute("set standard_conforming_strings = off; set escape_string_warning = off")
    stage.council.propose("risk_config", limits("1e1"), "ada")


# ----------------------------------------------------------------------------------------------------
# Enough agents together

quorum = Section(
    "quorum",
    "Enough agents for a quorum",
    "Agents who agree. Their change is what they signed, and it is recorded with their signatures.",
    "risk",
)


@quorum.does(
    "Loosens the limits as far as it likes",
    not_found(
        "that is what a quorum is for; `risk_change_log` has the signatures",
        "select max_leverage_ratio = 9 from risk_configurations where valid_to is null",
    ),
)
def loosens(stage: Stage) -> None:
    stage.council.enact("risk_config", limits(leverage="9"), "ada", "ben", "cyd")


@quorum.does(
    "Loosens a limit above the ceiling that the guardrail was built with",
    guardrail("above the compiled-in ceiling"),
)
def exceeds_a_ceiling(stage: Stage) -> None:
    stage.council.enact("risk_config", limits("0.99"), "ada", "ben", "cyd")


@quorum.does(
    "Votes an honest agent out",
    not_found(
        "nobody can tell honest from dishonest; `agent_revocations` says by which proposal",
        "select count(*) = 2 from agent_revocations",
    ),
)
def votes_out_the_honest(stage: Stage) -> None:
    stage.council.enact("agent_revoke", revoke("cyd"), "ada", "ben")


@quorum.does("Enrols one key for two agents in two proposals", refused("RSK-003"))
def enrols_one_key_twice(stage: Stage) -> None:
    stage.council.enact("agent_enrol", enrol("eve"), "ada", "ben", "cyd")
    stage.council.propose("agent_enrol", enrol("fay", public_key=agent("eve")["public_key"]), "ada")


@quorum.does("Builds on a limit that was changed by force", refused("RSK-007"))
def builds_on_force(stage: Stage) -> None:
    proposal_id = stage.council.propose("risk_config", limits("0.01"), "ada")
    vote = stage.council.sign_vote(proposal_id, "ben")
    with stage.db.transaction():
        stage.db.execute("alter table risk_configurations disable trigger all")
        stage.db.execute("update risk_configurations set max_leverage_ratio = 9 where valid_to is null")
    stage.council.send_vote(vote)
