"""What a login in app_risk tries that has no agent's key."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from psycopg.types.json import Jsonb

from tests.risk.council import agent_id, limits, soon
from tests.support import one, query
from tests.tampering.catalogue import Section
from tests.tampering.outcomes import refused, told
from tests.tampering.stage import Stage

risk = Section(
    "risk",
    "Risk",
    "A login in `app_risk` without an agent's key: it may read, and hand in what agents have signed.",
    "risk",
)
sql, does = risk.sql, risk.does

DENIED = refused("42501")
PROPOSE = "select propose(%s, 'risk_config', %s, 'because', %s, %s, %s)"

sql(
    "changes-a-limit",
    "Changes a risk limit",
    "update risk_configurations set max_leverage_ratio = 99",
    DENIED,
)
sql("ends-a-limit", "Closes the current limits", "update risk_configurations set valid_to = now()", DENIED)
sql(
    "inserts-limits",
    "Inserts limits",
    "insert into risk_configurations (reason_for_change) values ('x')",
    DENIED,
)
sql("removes-a-threshold", "Removes a kill threshold", "delete from risk_asset_kill_thresholds", DENIED)
sql(
    "inserts-a-proposal",
    "Inserts a proposal past the function",
    "insert into proposals (reason) values ('x')",
    DENIED,
)
sql(
    "inserts-a-vote",
    "Inserts a vote past the function",
    "insert into votes (decision) values ('APPROVE')",
    DENIED,
)
sql("changes-a-vote", "Changes a vote", "update votes set decision = 'APPROVE'", DENIED)
sql(
    "applies-a-proposal",
    "Applies a proposal that has no quorum",
    "select _apply_proposal(p, p.proposer) from proposals as p",
    DENIED,
)
sql("enrols-an-agent", "Inserts an agent of its own", "insert into agents (name) values ('x')", DENIED)
sql("bootstraps", "Bootstraps agents of its own", "select bootstrap_agents('[]')", DENIED)
sql("writes-the-log", "Writes a signal", "insert into signals default values", DENIED)
sql("verifies", "Verifies, to have the lockdown engaged", "select * from verify_chain_integrity()", DENIED)


def _propose(stage: Stage, signature: bytes | None, by: str = "ada") -> None:
    query(stage.me, PROPOSE, [uuid4(), Jsonb(limits("0.9")), agent_id(by), soon(), signature])


@does("Proposes without a signature", refused("RSK-003"))
def proposes_unsigned(stage: Stage) -> None:
    _propose(stage, None)


@does("Proposes with a signature of 64 zero bytes", refused("RSK-003"))
def proposes_with_zeros(stage: Stage) -> None:
    _propose(stage, bytes(64))


@does("Proposes for an agent that does not exist", refused("RSK-003"))
def proposes_for_nobody(stage: Stage) -> None:
    _propose(stage, bytes(64), "mallory")


@does("Proposes nothing at all", refused("RSK-003"))
def proposes_null(stage: Stage) -> None:
    query(stage.me, "select propose(null, null, null, null, null, null, null)")


@does("Votes on a proposal that does not exist", refused("RSK-006"))
def votes_on_nothing(stage: Stage) -> None:
    query(stage.me, "select vote(gen_random_uuid(), %s, 'APPROVE', now(), %s)", [agent_id("ada"), bytes(64)])


@does("Hands in a signed proposal with other limits", refused("RSK-003"))
def changes_a_signed_payload(stage: Stage) -> None:
    row = stage.council.sign_proposal("risk_config", limits("0.01"), "ada")
    stage.council.send_proposal(row | {"payload": Jsonb(limits("0.9"))})


@does("Hands in a signed proposal with another reason", refused("RSK-003"))
def changes_a_signed_reason(stage: Stage) -> None:
    row = stage.council.sign_proposal("risk_config", limits("0.01"), "ada")
    stage.council.send_proposal(row | {"reason": "another"})


@does("Hands in a signed proposal with a later expiry", refused("RSK-003"))
def changes_a_signed_expiry(stage: Stage) -> None:
    row = stage.council.sign_proposal("risk_config", limits("0.01"), "ada")
    stage.council.send_proposal(row | {"expires_at": row["expires_at"] + timedelta(days=1)})


@does("Hands in one agent's proposal as another's", refused("RSK-003"))
def changes_the_proposer(stage: Stage) -> None:
    row = stage.council.sign_proposal("risk_config", limits("0.01"), "ada")
    stage.council.send_proposal(row | {"proposer": agent_id("ben")})


@does("Hands in a signed proposal a second time under its id", refused("RSK-006"))
def replays_a_proposal(stage: Stage) -> None:
    row = stage.council.sign_proposal("risk_config", limits("0.01"), "ada")
    stage.council.send_proposal(row)
    stage.council.send_proposal(row)


@does("Hands in a proposal that was signed for an earlier state", refused("RSK-005"))
def replays_an_old_proposal(stage: Stage) -> None:
    before = one(stage.db, "select state_hash from active_risk_state()")
    row = stage.council.sign_proposal("risk_config", limits("0.04"), "ada", previous=before)
    stage.honest.enact("risk_config", limits("0.02"), "ben", "cyd")
    stage.council.send_proposal(row)


@does("Hands in an agent's vote a second time", refused("RSK-004"))
def replays_a_vote(stage: Stage) -> None:
    proposal_id = stage.honest.propose("risk_config", limits("0.9"), "ada")
    vote = stage.council.sign_vote(proposal_id, "ben")
    stage.council.send_vote(vote)
    stage.council.send_vote(vote)


@does("Hands in an agent's vote for another proposal", refused("RSK-003"))
def moves_a_vote(stage: Stage) -> None:
    mild, wild = (stage.honest.propose("risk_config", limits(p), "ada") for p in ("0.01", "0.9"))
    vote = stage.council.sign_vote(mild, "ben")
    stage.council.send_vote((wild, *vote[1:]))


@does("Hands in an agent's rejection as an approval", refused("RSK-003"))
def turns_a_vote(stage: Stage) -> None:
    proposal_id = stage.honest.propose("risk_config", limits("0.9"), "ada")
    vote = stage.council.sign_vote(proposal_id, "ben", "REJECT")
    stage.council.send_vote((*vote[:2], "APPROVE", *vote[3:]))


@does("Hands in one agent's vote as another's", refused("RSK-003"))
def lends_a_vote(stage: Stage) -> None:
    proposal_id = stage.honest.propose("risk_config", limits("0.9"), "ada")
    vote = stage.council.sign_vote(proposal_id, "ben")
    stage.council.send_vote((vote[0], agent_id("cyd"), *vote[2:]))


@does("Hands in a proposal that was signed for another desk", refused("RSK-003"))
def replays_from_another_desk(stage: Stage) -> None:
    row = stage.council.sign_proposal("risk_config", limits("0.01"), "ada")
    with stage.db.transaction():
        stage.db.execute("alter table installation disable trigger user")
        stage.db.execute("update installation set installation_id = gen_random_uuid()")
        stage.db.execute("alter table installation enable trigger user")
    stage.council.send_proposal(row)


@does("Changes a signature into another that mathematics takes for the same (S + L)", refused("RSK-003"))
def bends_a_signature(stage: Stage) -> None:
    row = stage.council.sign_proposal("risk_config", limits("0.01"), "ada")
    order = 2**252 + 27742317777372353535851937790883648493
    scalar = int.from_bytes(row["signature"][32:], "little") + order
    stage.council.send_proposal(row | {"signature": row["signature"][:32] + scalar.to_bytes(32, "little")})


# ----------------------------------------------------------------------------------------------------
# Much of everything

LARGE = (
    "select propose(gen_random_uuid(), {kind}, {payload}, {reason}, (select agent_id from vw_agents"
    " where name = 'ada'),"
    " now() + interval '1 hour', {signature})"
)
ZEROS = "decode(repeat('00', 64), 'hex')"
ITEMS = (
    "(select jsonb_build_object('damage', jsonb_agg(jsonb_build_object('table', 'signals', 'id', n)))"
    " from generate_series(1, {n}) as n)"
)
sql(
    "proposes-many-items",
    "Proposes a release of 20,000 places with a signature of zeros, so that others wait",
    LARGE.format(kind="'lockdown_release'", payload=ITEMS.format(n=20000), reason="'x'", signature=ZEROS),
    refused("RSK-003"),
    begins="locked",
)
sql(
    "proposes-too-many-items",
    "Proposes a release of 200,000 places",
    LARGE.format(kind="'lockdown_release'", payload=ITEMS.format(n=200000), reason="'x'", signature=ZEROS),
    refused("RSK-001"),
    begins="locked",
)
sql(
    "proposes-a-large-payload",
    "Proposes limits of a megabyte",
    LARGE.format(
        kind="'risk_config'",
        payload="jsonb_build_object('x', repeat('x', 1000000))",
        reason="'x'",
        signature=ZEROS,
    ),
    refused("RSK-001"),
)
sql(
    "gives-a-long-reason",
    "Gives a reason of a megabyte",
    LARGE.format(kind="'risk_config'", payload="'{}'", reason="repeat('x', 1000000)", signature=ZEROS),
    refused("RSK-001"),
)
sql(
    "signs-at-length",
    "Hands in a signature of a megabyte",
    LARGE.format(
        kind="'risk_config'", payload="'{}'", reason="'x'", signature="decode(repeat('00', 1000000), 'hex')"
    ),
    refused("RSK-003"),
)


@does("Hands in a decision of a megabyte", refused("RSK-004"))
def decides_at_length(stage: Stage) -> None:
    proposal_id = stage.honest.propose("risk_config", limits("0.01"), "ada")
    vote = stage.council.sign_vote(proposal_id, "ben")
    stage.council.send_vote((*vote[:2], "x" * 1_000_000, *vote[3:]))


@does(
    "Leaves a call open that holds the proposals' lock",
    told(
        "`lock_holders()`, which `alpha-db status` shows",
        "session, login and since when",
        "select count(*) > 0 from lock_holders() as h where h.lock_name = 'lock_proposals' and h.login = 'tamper_risk'",
    ),
)
def holds_the_proposals(stage: Stage) -> None:
    holder = stage.session("risk", autocommit=False)
    stage.council.through(holder).propose("risk_config", limits("0.01"), "ada")
