"""The page of one proposal: one HTML file on which an approver reads it, and signs a vote in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from alpha_db.pages import (
    Element,
    Node,
    document,
    element,
    read_resource,
    shared_scripts,
    state,
    verification,
)
from alpha_db.pages.tree import State
from alpha_db.risk.agent import Agent, Row
from alpha_db.risk.changes import spelt, worded
from alpha_db.security.audit_signer import signed_time
from alpha_db.security.signed_text import SignedProposal

#: A release may list 10,000 damaged places, each with 2,000 characters of content: the page has the first ones.
MOST_PLACES = 500
_DIRECTIONS: dict[str | None, tuple[State, str, str]] = {
    "tighten": ("good", "tightens", "This proposal tightens: no limit becomes looser."),
    "loosen": ("warn", "loosens", "This proposal loosens."),
    "govern": ("warn", "changes who decides", "This proposal changes who decides."),
    "same": ("unknown", "stays", ""),
}
_UNCLEAR: tuple[State, str, str] = ("bad", "unclear", "What this proposal does is unclear.")


def ballot_page(
    proposal: Row,
    said: SignedProposal,
    *,
    state_text: str,
    signature: bytes,
    proposer: Agent,
    voters: Sequence[Agent],
    votes: Sequence[Row],
    made_at: datetime,
) -> bytes:
    """Return the page as one HTML file in UTF-8.

    Takes a pending proposal that passed ConfigManager.review(), what its text says, the text of the state that it was
    made for, the proposer's signature, the agents who may sign on the page, the votes as they are stored
    (vote_signatures, with name and public_key), and the time by the database's clock.
    """
    ballot = {
        "origin": said.origin,
        "proposal_id": said.proposal_id,
        "kind": said.kind,
        "reason": said.reason,
        "expires": said.expires,
        "signed_text": proposal["signed_text"],
        "digest": proposal["digest"],
        "signature": signature.hex(),
        "state_text": state_text,
        "changes": proposal["changes"],
        "proposer": _key(proposer),
        "agents": [_key(agent) for agent in voters],
        "votes": [
            {
                "agent_id": str(vote["agent_id"]),
                "name": vote["name"],
                "public_key": bytes(vote["agent_key"]).hex(),
                "decision": vote["decision"],
                "signed_at": signed_time(vote["signed_at"]),
                "signature": bytes(vote["signature"]).hex(),
            }
            for vote in votes
        ],
    }
    body = [
        element("h1", f"Approve or reject: {said.kind}"),
        element(
            "p",
            "Proposal ",
            element("code", said.proposal_id),
            " of installation ",
            element("code", said.origin),
        ),
        verification(),
        _verdict(proposal),
        *_changes(proposal),
        *_facts(proposal, proposer, made_at),
        *_damage(proposal),
        element("h2", "The exact text"),
        element("p", f"This is what {proposer.name} signed. A vote names it by its SHA-256."),
        element("pre", proposal["signed_text"], class_="exact", tabindex=0),
        element("p", "SHA-256 ", element("code", proposal["digest"])),
        *_form(said, voters),
    ]
    return document(
        f"Proposal {said.proposal_id[:8]}: {said.kind}",
        [element("main", *body)],
        scripts=[*shared_scripts(), read_resource("alpha_db.risk", "ballot_page.js")],
        styles=[read_resource("alpha_db.risk", "ballot_page.css")],
        data={"ballot": ballot},
    )


def _key(agent: Agent) -> dict[str, str]:
    return {"agent_id": str(agent.agent_id), "name": agent.name, "public_key": agent.public_key}


def _verdict(proposal: Row) -> Element:
    kind, _, sentence = _DIRECTIONS.get(proposal["direction"], _UNCLEAR)
    if proposal["kind"] == "lockdown_release":
        sentence = "This proposal ends the lockdown, and acknowledges the damage."
    missing = max(0, (proposal["needed"] or 0) - proposal["approvals"])
    needs = f" It has {proposal['approvals']} of {proposal['needed'] or '?'} approvals."
    last = " The next approval applies it." if proposal["needed"] and missing == 1 else ""
    return element("p", state(kind, sentence), needs, last, class_=f"box {kind}")


def _changes(proposal: Row) -> list[Node]:
    if proposal["kind"] == "lockdown_release":
        return []
    rows = []
    for change in proposal["changes"]:
        kind, word, _ = _DIRECTIONS.get(change["direction"], _UNCLEAR)
        effect = element("span", f"= {word}", class_="dim") if kind == "unknown" else state(kind, word)
        rows.append(
            element(
                "tr",
                element("th", spelt(change["name"]), scope="row"),
                element("td", worded(change["name"], change["old"])),
                element("td", worded(change["name"], change["new"]), class_="new"),
                element("td", effect, class_="effect"),
            )
        )
    head = element("tr", *(element("th", name, scope="col") for name in ("What", "Old", "New", "Effect")))
    table = element("table", element("thead", head), element("tbody", *rows), class_="changes")
    return [element("h2", "What changes"), table]


def _facts(proposal: Row, proposer: Agent, made_at: datetime) -> list[Node]:
    votes = [f"{vote['name']}: {vote['decision']}, {_time(vote['voted_at'])}" for vote in proposal["votes"]]
    may_vote = ", ".join(voter["name"] for voter in proposal["may_vote"]) or "nobody"
    facts = {
        "Why": [proposal["reason"]],
        "Proposed by": [f"{proposer.name} ({proposer.role}), {_time(proposal['created_at'])}"],
        "Key of the proposer": [proposer.public_key],
        "Votes": votes or ["none yet"],
        "May still vote": [may_vote],
        "Expires": [_time(proposal["expires_at"]), ""],
        "Page made": [f"{_time(made_at)}. Votes may have come since: alpha-db risk proposals shows them."],
    }
    described = [
        node
        for name, lines in facts.items()
        for node in (element("dt", name), element("dd", *(_line(line) for line in lines)))
    ]
    return [element("dl", *described)]


def _line(text: str) -> Element:
    """A line of a fact; the empty one is for the script: how much time is left."""
    return element("div", text) if text else element("div", id="left", class_="dim")


def _damage(proposal: Row) -> list[Node]:
    if proposal["kind"] != "lockdown_release":
        return []
    places = proposal["damage"]
    nodes: list[Node] = [
        element("h2", "The damage that it acknowledges"),
        element("p", f"Damaged places: {len(places)}. Nothing is repaired; each is reported for ever after."),
    ]
    for place in places[:MOST_PLACES]:
        content = place["row_data"]
        nodes += [
            element("h3", f"{place['table']} {place['id']}: {place['verdict']}"),
            element(
                "dl",
                element("dt", "Stored hash"),
                element("dd", element("code", place["actual_hash"] or "none")),
                element("dt", "Hash of the content"),
                element("dd", element("code", place["expected_hash"] or "none")),
            ),
            element("pre", "no row" if content is None else content, class_="exact", tabindex=0),
        ]
    if len(places) > MOST_PLACES:
        rest = len(places) - MOST_PLACES
        nodes.append(
            element(
                "p",
                state("warn", f"{rest} more places are not on this page. Read them: alpha-db risk proposals"),
            )
        )
    return nodes


def _form(said: SignedProposal, voters: Sequence[Agent]) -> list[Node]:
    choices = [element("option", f"{each.name} ({each.role})", value=str(each.agent_id)) for each in voters]
    return [
        element("h2", "Your vote", class_="screen-only"),
        element(
            "fieldset",
            element("legend", "Sign it here"),
            element("label", "You are", element("select", *choices, id="agent", autocomplete="off")),
            _choice("APPROVE", "Approve"),
            _choice("REJECT", "Reject: this ends the proposal"),
            element("label", "File of your private key", element("input", type="file", id="key-file")),
            element(
                "label",
                "or the key itself: unencrypted, PKCS#8 or OpenSSH, from -----BEGIN to END-----",
                element("textarea", id="key", autocomplete="off", autocapitalize="off", spellcheck="false"),
            ),
            element(
                "p",
                "The key stays on this page. It is not stored, and this page cannot send anything.",
                class_="dim",
            ),
            element("button", "Sign the vote", id="sign", type="button", disabled=True),
            element(
                "p",
                element("span", "?", class_="sign", aria_hidden="true"),
                " ",
                element("span", "", class_="said"),
                id="told",
                role="status",
                hidden=True,
            ),
            class_="screen-only",
        ),
        element(
            "section",
            element("h2", "The signed vote"),
            element("p", "What you signed:"),
            element("pre", "", id="vote-text"),
            element("textarea", id="vote", readonly=True, rows=10, aria_label="The signed vote as JSON"),
            element("button", "Copy", id="copy", type="button"),
            " ",
            element("button", "Download", id="download", type="button"),
            element(
                "p",
                "Save it as a file, ",
                element("code", "", id="file-name"),
                ", and submit it, or have it submitted:",
            ),
            element("pre", "alpha-db risk submit FILE"),
            element(
                "p",
                f"It can be submitted until the proposal expires, at {said.expires}, however old the signature is.",
                " The clock of this device may be five minutes ahead of the database's, no more.",
            ),
            id="signed",
            hidden=True,
        ),
    ]


def _choice(value: str, label: str) -> Element:
    return element(
        "label",
        element("input", type="radio", name="decision", value=value, autocomplete="off"),
        f" {label}",
        class_="choice",
    )


def _time(moment: Any) -> str:
    return (
        moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        if isinstance(moment, datetime)
        else str(moment)
    )
