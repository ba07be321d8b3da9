"""The signed risk configuration: what holds, what was proposed, and how an agent proposes and votes.

Thin: the database decides, these functions ask it. But nothing is signed on its word alone: the texts are made
here, of what the agent sees, and signed only if the database makes the same. Source: docs/risk.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import dict_row

from alpha_db.errors import (
    ProposalClosed,
    RiskTampered,
    RiskValueRefused,
    SignatureRefused,
    StaleProposal,
    VoteRefused,
    translate,
)
from alpha_db.queries import query
from alpha_db.risk.agent import Agent, Row
from alpha_db.risk.ballot_page import ballot_page
from alpha_db.risk.review import check_shown, check_signed, check_votes, tampered
from alpha_db.risk.signed_vote import SignedVote, check_origin, check_vote
from alpha_db.security.audit_signer import AuditSigner, approval_text, digest_of, proposal_text
from alpha_db.security.config_integrity import IntegrityChecker, Keys, Verified
from alpha_db.security.evidence import read_evidence
from alpha_db.security.payloads import DAMAGE
from alpha_db.security.replay import Replay, approvals_needed, direction
from alpha_db.security.signed_text import (
    SignedProposal,
    is_plain_text,
    jsonb_text,
    parse_proposal,
    parse_time,
)
from alpha_db.verify.courtesy import LOCKDOWN, RISK, tell

__all__ = ["LONGEST_REASON", "ON_LIMITS", "Agent", "Ballot", "ConfigManager", "Draft", "Row"]

# kinds that build on the limits as they stand; the others must be possible when those are damaged
ON_LIMITS = ("risk_config", "asset_kill_threshold")
LONGEST_REASON = 2000
_CHANGE = ("name", "old", "new", "direction")
_VOTE = ("agent_id", "name", "decision", "signed_at", "voted_at", "counts")


@dataclass(frozen=True)
class Draft:
    """A proposal before it is signed: its members, its exact text, and what it will need."""

    proposal_id: UUID
    kind: str
    payload: Mapping[str, Any]
    reason: str
    proposer: UUID
    expires_at: datetime
    previous: str
    text: str
    direction: str | None = None
    needed: int | None = None


@dataclass(frozen=True)
class Ballot:
    """A vote before it is signed: the proposal as it was signed, and the vote's exact text.

    `damage` is what a release acknowledges, each place with the content that stands there now.
    """

    proposal: Row
    agent_id: UUID
    decision: str
    signed_at: datetime
    text: str
    damage: tuple[Row, ...] = ()


class ConfigManager:
    """Risk configuration over one connection (in autocommit, search_path beginning with the install schema)."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self._conn = conn

    # ------------------------------------------------------------------------------------------------
    # What holds

    def verified(self, pins: Keys | None = None) -> Verified:
        """Return the active state, every signature checked here. Raises RiskTampered (RSK-007)."""
        conn = self._conn
        kept = conn.isolation_level, conn.read_only
        try:
            with translate():
                reading = read_evidence(conn)
        finally:
            conn.isolation_level, conn.read_only = kept
        return IntegrityChecker(pins).check(reading)

    def active(self) -> Row:
        """Return the row of active_risk_state(), as the database says it."""
        return self._rows("active_risk_state")[0]

    def history(self, since: int = 0) -> list[Row]:
        """Return every applied change after a version, oldest first, as risk_evidence() has it."""
        return self._rows("risk_evidence", since=since)

    def integrity(self) -> list[Row]:
        """Return the rows of verify_config_integrity()."""
        return self._rows("verify_config_integrity")

    # ------------------------------------------------------------------------------------------------
    # Agents

    def agents(self) -> list[Agent]:
        """Return every agent ever enrolled, in order of enrolment."""
        return [Agent(**row) for row in self._rows("agents_by_name")]

    def find_agent(self, name: str) -> Agent:
        """Return the active agent of this id or name. Raises SignatureRefused (RSK-003)."""
        known = self.agents()
        found = [a for a in known if a.revoked_at is None and name in (str(a.agent_id), a.name)]
        if len(found) == 1:
            return found[0]
        gone = any(name in (str(a.agent_id), a.name) for a in known)
        problem = "has the name of several agents" if found else "is revoked" if gone else "is not enrolled"
        raise SignatureRefused(f"RSK-003: {name} {problem}", hint="alpha-db agents list", sqlstate="RSK03")

    def agent_of(self, signer: AuditSigner, name: str | None = None) -> Agent:
        """Return the active agent whose key this is, and who must have this name or id, if one is given.

        Raises SignatureRefused (RSK-003).
        """
        if name is not None:
            agent = self.find_agent(name)
            if agent.public_key != signer.public_key_hex:
                message = f"RSK-003: the key is not that of agent {agent.name}"
                raise SignatureRefused(
                    message,
                    detail=f"The public key of {agent.name} is {agent.public_key}.",
                    hint="Give the key of that agent, or leave its name out.",
                    sqlstate="RSK03",
                )
            return agent
        for agent in self.agents():
            if agent.public_key == signer.public_key_hex and agent.revoked_at is None:
                return agent
        message = f"RSK-003: no active agent has the key {signer.public_key_hex}"
        raise SignatureRefused(message, hint="alpha-db agents list", sqlstate="RSK03")

    def bootstrap(self, agents: list[Row]) -> list[Row]:
        """Enrol the first agents, once for an installation, each with its `signature` of the bootstrap_text
        of all. Raises RSK-001, RSK-002, RSK-003."""
        enrolled = self._rows("bootstrap_agents", agents=jsonb_text(agents))
        tell(self._conn, RISK)
        return enrolled

    # ------------------------------------------------------------------------------------------------
    # Proposing and voting

    def proposals(self, *, every: bool = False) -> list[Row]:
        """Return the pending proposals, or every one, oldest first."""
        return self._rows("proposals", proposal=None, every=every)

    def pending(self) -> list[Row]:
        """Return the pending proposals, explained, all as they stood at one moment. Begins a transaction."""
        kept = self._conn.isolation_level
        self._conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        try:
            with self._conn.transaction():
                return self.explained(self.proposals())
        finally:
            self._conn.isolation_level = kept

    def explained(self, proposals: list[Row]) -> list[Row]:
        """Return proposals with what people need to decide, as the database says it.

        `changes` (name, old, new, direction), `votes`, `may_vote` (the eligible agents who have not voted), `damage`
        of a release, and `expires_in_seconds` by the database's clock, None if it is closed.
        """
        ids = [row["proposal_id"] for row in proposals]
        now = self._scalar("server_time")
        changes = _grouped(self._rows("proposal_changes", proposal_ids=ids), _CHANGE)
        voters = self._rows("proposal_voters", proposal_ids=ids)
        votes = _grouped((row for row in voters if not row["may_vote"]), _VOTE)
        others = _grouped((row for row in voters if row["may_vote"]), ("agent_id", "name", "role"))
        return [
            row
            | {
                "changes": changes[row["proposal_id"]],
                "votes": votes[row["proposal_id"]],
                "may_vote": others[row["proposal_id"]],
                "damage": self.damage_of(row),
                "expires_in_seconds": _seconds_left(row, now),
            }
            for row in proposals
        ]

    def proposal(self, proposal_id: UUID | str) -> Row:
        """Return the proposal whose id begins like this, explained. Raises ProposalClosed (RSK-006)."""
        prefix = str(proposal_id).lower().replace("%", "").replace("_", "").replace("\\", "")
        found = self._rows("proposals", proposal=prefix, every=True) if prefix else []
        if len(found) != 1:
            many = "there are several proposals whose id begins with" if found else "there is no proposal"
            message = f"RSK-006: {many} {proposal_id}"
            raise ProposalClosed(message, hint="alpha-db risk proposals --all", sqlstate="RSK06")
        return self.explained(found)[0]

    def draft(
        self,
        kind: str,
        payload: Mapping[str, Any],
        *,
        reason: str,
        proposer: UUID,
        lifetime: timedelta = timedelta(hours=24),
    ) -> Draft:
        """Make a proposal for the state as it is now, ready to be read and signed.

        What it will need is told by the replayed log, not by the database; for kinds that do not build on the
        limits it may be unknown (None) if the log does not hold. Raises RiskTampered (RSK-007) otherwise, and
        RiskValueRefused (RSK-001) for a reason that the database would refuse.
        """
        is_text = isinstance(reason, str)  # callers are not all typed
        if not (is_text and reason.strip(" ") and len(reason) <= LONGEST_REASON and is_plain_text(reason)):
            raise RiskValueRefused(
                "RSK-001: the reason is missing, too long, or hides characters",
                hint=f"Give a reason of at most {LONGEST_REASON} characters, all of them visible.",
                sqlstate="RSK01",
            )
        proposal_id, active = uuid4(), self.active()
        expires_at = self._scalar("server_time") + lifetime
        try:
            text = proposal_text(
                origin=active["origin"],
                proposal_id=proposal_id,
                kind=kind,
                previous=active["state_hash"],
                payload=payload,
                reason=reason,
                proposer=proposer,
                expires_at=expires_at,
            )
        except (ValueError, TypeError, AttributeError) as problem:
            raise _not_a_payload(problem) from None
        draft = Draft(proposal_id, kind, payload, reason, proposer, expires_at, active["state_hash"], text)
        try:
            replay = self.verified().replay
        except RiskTampered:
            if kind in ON_LIMITS:
                raise
            return draft
        try:
            said = parse_proposal(text)
            way, needed = direction(kind, payload, replay.state), approvals_needed(replay, said)
        except (ValueError, TypeError, LookupError, ArithmeticError) as problem:
            raise _not_a_payload(problem) from None
        return Draft(**{**vars(draft), "direction": way, "needed": needed})

    def propose(self, draft: Draft, signer: AuditSigner) -> Row:
        """Sign a draft and send it; return proposal_id, digest and created_at.

        Raises RSK-001, RSK-003, RSK-005 (the state has changed since the draft), RSK-006, AUD-009.
        """
        members = {k: v for k, v in vars(draft).items() if k not in ("text", "direction", "needed")}
        members |= {"payload": jsonb_text(draft.payload), "signature": signer.sign(draft.text)}
        return self._rows("propose", **members)[0]

    def review(
        self, proposal_id: UUID | str, *, for_approval: bool = True
    ) -> tuple[Row, SignedProposal | None]:
        """Return a proposal as it is shown, and what its signed text says, after both were compared.

        Signatures, digest and every column are checked here, and so are changes, votes and quorum of a pending one: so
        what is shown is what is signed. Only a rejection may be of a text that cannot be read (None), or that shows
        otherwise what it changes. Raises RiskTampered (RSK-007), ProposalClosed (RSK-006).
        """
        proposal = self.proposal(proposal_id)
        stored = self._rows("proposal_signature", proposal_id=proposal["proposal_id"])[0]
        agents = self.agents()
        keys = {str(agent.agent_id): bytes.fromhex(agent.public_key) for agent in agents}
        origin = self.active()["origin"]
        said = check_signed(proposal, stored, origin=origin, keys=keys, must_be_readable=for_approval)
        if said is None or not for_approval or proposal["status"] != "PENDING":
            return proposal, said
        replay = self._replayed(proposal["kind"])
        signatures = self._rows("vote_signatures", proposal_id=proposal["proposal_id"])
        check_votes(said, proposal["digest"], proposal["votes"], signatures, replay.ever if replay else keys)
        check_shown(proposal, said, replay, agents, keys)
        return proposal, said

    def checked(self, proposals: list[Row], before: Iterable[Row] = ()) -> list[Row]:
        """Return explained proposals with `tampering`: why review() refuses a pending one, None if it does not.

        What stands as it did in `before`, which was checked, is not reviewed again.
        """
        known = {_standing(row): row["tampering"] for row in before}
        return [row | {"tampering": self._tampering(row, known)} for row in proposals]

    def _tampering(self, proposal: Row, known: Mapping[str, str | None]) -> str | None:
        if proposal["status"] != "PENDING":
            return None
        standing = _standing(proposal)
        if standing in known:
            return known[standing]
        said = None
        for _ in range(2):  # a vote that comes between two questions looks like tampering, but not twice
            try:
                self.review(proposal["proposal_id"])
            except RiskTampered as problem:
                said = problem.message.removeprefix("RSK-007: ")
            else:
                return None
        return said

    def _replayed(self, kind: str) -> Replay | None:
        """The replayed log; None if it does not hold, and a proposal must be possible all the same."""
        try:
            return self.verified().replay
        except RiskTampered:
            if kind in ON_LIMITS:  # nothing is built on limits that were changed by force
                raise
            return None

    def ballot(self, proposal_id: UUID | str, agent_id: UUID, decision: str) -> Ballot:
        """Make a vote, ready to be read and signed, on a proposal that passed review().

        Raises RiskTampered (RSK-007), ProposalClosed (RSK-006).
        """
        proposal, said = self.review(proposal_id, for_approval=decision != "REJECT")
        signed_at = self._scalar("server_time")
        origin = said.origin if said else self.active()["origin"]
        text = approval_text(
            origin=origin,
            decision=decision,
            digest=proposal["digest"],
            agent_id=agent_id,
            signed_at=signed_at,
        )
        ballot = Ballot(proposal, agent_id, decision, signed_at, text, tuple(proposal["damage"]))
        members = {k: v for k, v in vars(ballot).items() if k not in ("proposal", "text", "damage")}
        theirs = self._scalar("approval_message", proposal_id=proposal["proposal_id"], **members)
        if theirs != text:
            raise tampered("the database would have another text signed", f"It says: {theirs}")
        return ballot

    def vote(self, ballot: Ballot, signer: AuditSigner) -> str:
        """Sign a vote and send it; return PENDING, APPLIED or REJECTED. Raises RSK-003 to RSK-006, AUD-009."""
        return self.send_vote(ballot, signer.sign(ballot.text))

    def send_vote(self, ballot: Ballot, signature: bytes) -> str:
        """Send a vote that is signed already; return and raise what vote() does."""
        status = self._scalar(
            "vote",
            proposal_id=ballot.proposal["proposal_id"],
            agent_id=ballot.agent_id,
            decision=ballot.decision,
            signed_at=ballot.signed_at,
            signature=signature,
        )
        if status == "APPLIED":
            tell(self._conn, RISK, *([LOCKDOWN] if ballot.proposal["kind"] == "lockdown_release" else []))
        return str(status)

    def signed_ballot(self, vote: SignedVote) -> Ballot:
        """Return the ballot of a vote that was signed elsewhere, on a proposal that passed review().

        Raises SignatureRefused (RSK-003) if it is for another installation or another text, or is not signed by its
        agent, and what review() raises.
        """
        origin = self.active()["origin"]
        check_origin(vote, origin)
        agent = self.find_agent(vote.agent_id)
        proposal, _ = self.review(vote.proposal_id, for_approval=vote.decision != "REJECT")
        check_vote(vote, origin, proposal["digest"], agent.name, bytes.fromhex(agent.public_key))
        signed_at = parse_time(vote.signed_at)
        return Ballot(proposal, agent.agent_id, vote.decision, signed_at, vote.signed_text)

    def page(self, proposal_id: UUID | str, agent: str | None = None) -> tuple[bytes, Row]:
        """Return the page of one proposal (ballot_page) and the proposal, which passed review().

        `agent` is the name or id of the one who is to vote; None: whoever still may. Raises RiskTampered (RSK-007),
        StaleProposal (RSK-005), ProposalClosed (RSK-006), and VoteRefused (RSK-004) if the agent has no vote left.
        """
        proposal, said = self.review(proposal_id)
        state = self.active()
        if proposal["status"] not in ("PENDING", "STALE"):
            raise ProposalClosed(f"RSK-006: the proposal is {proposal['status'].lower()}", sqlstate="RSK06")
        if said is None or digest_of(state["state_text"]) != said.previous:
            other = "RSK-005: the proposal was made for another state than the current one"
            raise StaleProposal(other, hint="Look at the current state and propose again.", sqlstate="RSK05")
        agents = {each.agent_id: each for each in self.agents()}
        voters = [agents[row["agent_id"]] for row in proposal["may_vote"]]
        if agent is not None:
            named = self.find_agent(agent)
            voters = [each for each in voters if each == named]
            if not voters:
                message = f"RSK-004: {named.name} has voted on this proposal, or has no vote on it"
                raise VoteRefused(message, hint="Let another agent vote.", sqlstate="RSK04")
        signatures = self._rows("vote_signatures", proposal_id=proposal["proposal_id"])
        page = ballot_page(
            proposal,
            said,
            state_text=state["state_text"],
            signature=bytes(
                self._rows("proposal_signature", proposal_id=proposal["proposal_id"])[0]["signature"]
            ),
            proposer=agents[proposal["proposer"]],
            voters=voters,
            votes=[row | {"name": agents[row["agent_id"]].name} for row in signatures],
            made_at=self._scalar("server_time"),
        )
        return page, proposal

    # ------------------------------------------------------------------------------------------------
    # Damage

    def damage(self) -> list[Row] | None:
        """Return the damage that a release would have to acknowledge, each place with its content.

        None without a lockdown; empty if it was a false alarm.
        """
        if not self._rows("lockdown_status")[0]["is_locked"]:
            return None
        return self._rows("damaged_rows", proposal_id=None)

    def damage_of(self, proposal: Row) -> list[Row]:
        """Return what a proposed release lists, each place with the content that stands there now."""
        if proposal["kind"] != "lockdown_release" or not isinstance(proposal["payload"], dict):
            return []
        stands = self._rows("damaged_rows", proposal_id=proposal["proposal_id"])
        content = {(row["table"], row["id"]): row["row_data"] for row in stands}
        return [
            {name: place[name] for name in DAMAGE} | {"row_data": content.get((place["table"], place["id"]))}
            for place in proposal["payload"]["damage"]
        ]

    def _rows(self, name: str, **values: Any) -> list[Row]:
        with translate(), self._conn.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query(name), values or None).fetchall()

    def _scalar(self, name: str, **values: Any) -> Any:
        with translate():
            row = self._conn.execute(query(name), values or None).fetchone()
        return row[0] if row else None


def _grouped(rows: Iterable[Row], names: tuple[str, ...]) -> Mapping[UUID, list[Row]]:
    """These columns of rows, by their proposal_id."""
    found: defaultdict[UUID, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["proposal_id"]].append({name: row[name] for name in names})
    return found


def _standing(proposal: Row) -> str:
    """All that is shown of a proposal, but for the time that is left and what the check said."""
    return repr([item for item in proposal.items() if item[0] not in ("expires_in_seconds", "tampering")])


def _seconds_left(proposal: Row, now: datetime) -> int | None:
    if proposal["status"] != "PENDING" or not isinstance(proposal["expires_at"], datetime):
        return None
    return max(0, int((proposal["expires_at"] - now).total_seconds()))


def _not_a_payload(problem: Exception) -> RiskValueRefused:
    what = (
        str(problem)
        if isinstance(problem, ValueError)
        else "a member of the payload is missing or of another type"
    )
    hint = "A payload has exactly the members of its kind, decimals as strings: docs/risk.md lists them."
    return RiskValueRefused(f"RSK-001: {what}", hint=hint, sqlstate="RSK01")
