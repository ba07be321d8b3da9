"""A proposal on the screen: what it changes, who voted, who still may, and until when. For people who decide."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from typing import Any
from unicodedata import east_asian_width

from alpha_db.cli.output import BAD, DIM, GOOD, HEAD, WARN, Part, clean, line, note
from alpha_db.risk.changes import spelt, worded
from alpha_db.risk.config_manager import Agent, Ballot, Row

#: How many characters of a damaged row damaged_rows() gives.
MOST_OF_A_ROW = 2000
STYLES = {"PENDING": WARN, "APPLIED": GOOD, "REJECTED": BAD}
DIRECTIONS = {"tighten": "tightens", "loosen": "loosens", "govern": "changes who decides", "same": "stays"}
_COLOURS = {"tighten": GOOD, "loosen": WARN, "govern": WARN, "same": DIM}

#: A blank behind a blank: with many of them a text fills the terminal's line, and goes on like a line of ours.
_FURTHER_BLANK = re.compile(r"(?<=[\s\u2800])[\s\u2800]")

Line = list[Part]


def one_line(value: object) -> str:
    """Return a value cleaned, each blank behind a blank as \\uXXXX: however it is wrapped, it looks like one text."""
    return _FURTHER_BLANK.sub(lambda found: f"\\u{ord(found[0]):04x}", clean(value))


def lines_of(proposal: Row) -> list[Line]:
    """Return a proposal (explained() by ConfigManager) as lines."""
    status = proposal["status"]
    lines: list[Line] = [
        [
            (str(proposal["proposal_id"]), HEAD),
            f"  {clean(proposal['kind'])}  ",
            (status, STYLES.get(status, DIM)),
            f"  {DIRECTIONS.get(proposal['direction'], 'unknown direction')}",
        ],
        *_tampering_lines(proposal),
        *_wrapped(
            "by",
            f"{clean(proposal['proposer_name'])}, {clean(proposal['created_at'])}: {clean(proposal['reason'])}",
        ),
    ]
    if proposal["kind"] == "lockdown_release":
        lines.append(
            _labelled("changes", f"ends the lockdown, and acknowledges {_places(proposal['damage'])}")
        )
        lines.extend([["  ", *parts] for parts in damage_lines(proposal["damage"])])
    else:
        lines.extend(change_lines(proposal["changes"]))
    lines.extend(_vote_lines(proposal))
    lines.append(_labelled("expires", clean(proposal["expires_at"]), left_of(proposal["expires_in_seconds"])))
    return lines


def _labelled(label: str, *parts: Part) -> Line:
    return [(f"  {label:<9}", DIM), *parts]


def _tampering_lines(proposal: Row) -> list[Line]:
    problem = proposal.get("tampering")  # only where it was looked for: ConfigManager.checked
    return (
        [_labelled("REFUSED", (f"{clean(problem)}; nobody can approve this (RSK-007)", BAD))]
        if problem
        else []
    )


def _wrapped(label: str, text: str) -> list[Line]:
    """Lines for what somebody else wrote at length: none of it comes to stand where another label would."""
    first, *others = _cut(text, max(20, shutil.get_terminal_size().columns - 11))
    more: list[Line] = [[(" " * 9 + "| ", DIM), part] for part in others]
    return [_labelled(label, first), *more]


def _cut(text: str, width: int) -> list[str]:
    """Cut after so many columns: most characters of East Asian scripts take two, and count as two."""
    parts, used = [""], 0
    for character in text:
        wide = 2 if east_asian_width(character) in "WF" else 1
        if used + wide > width:
            parts.append("")
            used = 0
        parts[-1] += character
        used += wide
    return parts


def change_lines(changes: Iterable[Row]) -> list[Line]:
    """Return what changes as aligned lines: name, old → new, and whether that tightens or loosens."""
    changes = list(changes)
    names = [spelt(one_line(change["name"])) for change in changes]
    width = max(map(len, names), default=0)
    lines: list[Line] = []
    for change, shown in zip(changes, names, strict=True):
        name, way = f"{shown:<{width}}  ", change["direction"]
        if way == "same":
            lines.append(_labelled("stays", (f"{name}{_value(change, 'old')}", DIM)))
            continue
        values: Line = [f"{name}{_value(change, 'old')} ", ("→", DIM), f" {_value(change, 'new')}  "]
        lines.append(
            _labelled("changes", *values, (DIRECTIONS.get(way, "unknown direction"), _COLOURS.get(way, BAD)))
        )
    return lines


def _value(change: Row, which: str) -> str:
    value = change[which]
    return worded(change["name"], value if value is None else one_line(value))


def _vote_lines(proposal: Row) -> list[Line]:
    lines: list[Line] = []
    for vote in proposal["votes"]:
        said = f"{clean(vote['decision'])} by {one_line(vote['name'])}, {clean(vote['voted_at'])}"
        no_count = "" if vote["counts"] else "; does not count"
        lines.append(_labelled("vote", said, (no_count, DIM)))
    if proposal["status"] == "PENDING":
        lines.append(_labelled("needs", needs_of(proposal)))
    return lines


def needs_of(proposal: Row) -> str:
    """Return what a pending proposal still needs, and who can give it."""
    voters = ", ".join(one_line(voter["name"]) for voter in proposal["may_vote"]) or "nobody"
    if proposal["needed"] is None:
        return f"an unknown number of approvals; {voters} may vote"
    missing = max(0, proposal["needed"] - proposal["approvals"])
    return (
        f"{missing} more, it has {proposal['approvals']} of {proposal['needed']} approvals; {voters} may vote"
    )


def left_of(seconds: int | None) -> str:
    """Return a time from now in two units, as in ", in 23 h 59 min"; nothing for None."""
    if seconds is None:
        return ""
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f", in {days} d {hours} h"
    return f", in {hours} h {minutes} min" if hours else f", in {minutes} min {seconds % 60} s"


def _places(damage: list[Row]) -> str:
    return f"{len(damage)} damaged place{'s' * (len(damage) != 1)}{':' * bool(damage)}"


def damage_lines(places: Iterable[Row]) -> list[Line]:
    """Return damaged places, each with the content that stands there: what a release acknowledges."""
    lines: list[Line] = []
    for place in places:
        content = place.get("row_data")
        lines += [
            [(f"  {clean(place['table'])} {clean(place['id'])}", BAD), f"  {clean(place['verdict'])}"],
            [("    stored hash  ", DIM), clean(place["actual_hash"] or "none")],
            [("    content's    ", DIM), clean(place["expected_hash"] or "none")],
            [("    content      ", DIM), "no row" if content is None else one_line(_shortened(content))],
        ]
    return lines


def show_damage(places: Iterable[Row], say: Callable[..., None] = line) -> None:
    """Show damaged places with their content."""
    for parts in damage_lines(places):
        say(*parts)


def _shortened(text: str) -> str:
    """All that damaged_rows() gives of a row, and a sign if the row has more: what is acknowledged must be seen."""
    return text if len(text) < MOST_OF_A_ROW else f"{text} …"


def show_text(text: str, say: Callable[..., None]) -> None:
    """Show the exact text that is signed."""
    for row in text.splitlines():
        say(("  | ", DIM), one_line(row))


def show_ballot(ballot: Ballot, agent: Agent, *, err: bool) -> None:
    """Show a proposal, its exact text, and the exact text of a vote on it."""
    say: Any = note if err else line
    for parts in lines_of(ballot.proposal):
        say(*parts)
    say(("The proposal, as it was signed:", DIM))
    show_text(ballot.proposal["signed_text"], say)
    say((f"What {clean(agent.name)} signs:", DIM))
    show_text(ballot.text, say)
