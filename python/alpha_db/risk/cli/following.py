"""alpha-db risk proposals --watch: the pending proposals as they stand now, and what has changed."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from uuid import UUID

from alpha_db.cli.output import DIM, HEAD, Part, clean, frame, is_terminal, json_value, line, put, styled
from alpha_db.risk.cli.shown import lines_of
from alpha_db.risk.config_manager import ConfigManager, Row

#: What makes a proposal stand otherwise than before; the time that is left does not.
_FACTS = ("status", "approvals", "needed", "votes", "may_vote")
Proposals = Mapping[UUID, Row]
#: What happened (pending, proposed, voted, changed, closed), the same in words, and the proposal as it stands now.
Event = tuple[str, str, Row]


def follow(manager: ConfigManager, interval: float, *, as_json: bool) -> None:
    """Show the pending proposals and each change until somebody ends it (KeyboardInterrupt).

    Asks the database every `interval` seconds. A terminal shows all of them at once; a pipe or a file gets each change
    as it comes, in words or as one line of JSON.
    """
    known: Proposals | None = None
    recent: deque[str] = deque(maxlen=5)
    on_screen = not as_json and is_terminal(sys.stdout)
    while True:
        rows = manager.checked(manager.pending(), (known or {}).values())
        found = {row["proposal_id"]: row for row in rows}
        events = list(events_between(known, found, manager))
        if as_json:
            for what, words, row in events:
                document = {"event": what, "said": words, "proposal": row}
                put(lambda stream: print(json.dumps(frame(document, 0), default=json_value), file=stream))  # noqa: B023
        elif on_screen:
            recent.extend(
                f"{clean(datetime.now(UTC))}  {words}" for what, words, _ in events if what != "pending"
            )
            _draw(list(found.values()), list(recent))
        else:
            _print(events, is_first=known is None)
        known = found
        time.sleep(interval)


def events_between(known: Proposals | None, found: Proposals, manager: ConfigManager) -> Iterator[Event]:
    """Yield what happened between two looks at the pending proposals; all of them are news at the first look."""
    for proposal_id, row in found.items():
        before = (known or {}).get(proposal_id)
        name = f"{str(proposal_id)[:8]} ({clean(row['kind'])})"
        if known is None:
            yield "pending", f"{name} is pending", row
        elif before is None:
            yield "proposed", f"{clean(row['proposer_name'])} proposed {name}", row
        elif new := [vote for vote in row["votes"] if vote not in before["votes"] and vote["counts"]]:
            yield "voted", f"{_who_voted(new)} on {name}", row
        elif row["tampering"] and not before["tampering"]:
            yield "changed", f"{name} is shown otherwise than it was signed", row
        elif any(row[fact] != before[fact] for fact in _FACTS):
            yield "changed", f"{name} needs another number of approvals, or has other voters", row
    for proposal_id, before in (known or {}).items():
        if proposal_id not in found:
            row = manager.proposal(proposal_id)
            new = [
                vote
                for vote in row["votes"]
                if vote["agent_id"] not in {v["agent_id"] for v in before["votes"]}
            ]
            voted = f": {_who_voted(new)}" if new else ""
            name = f"{str(proposal_id)[:8]} ({clean(row['kind'])})"
            yield "closed", f"{name} is {row['status']}{voted}", row


def _who_voted(votes: list[Row]) -> str:
    return ", ".join(f"{clean(vote['name'])} voted {clean(vote['decision'])}" for vote in votes)


def _print(events: list[Event], *, is_first: bool) -> None:
    if is_first and not events:
        line("No proposal is pending.")
    for what, words, row in events:
        if what != "pending":
            line((f"{clean(datetime.now(UTC))}  {words}", HEAD))
        for parts in lines_of(row):
            line(*parts)


def _draw(proposals: list[Row], recent: list[str]) -> None:
    """Fill the screen; what does not fit is cut, and the last line says so."""
    lines: list[list[Part]] = [
        [(f"Pending proposals at {clean(datetime.now(UTC))}; Ctrl-C ends.", DIM)],
        [""],
    ]
    lines.extend([[(words, HEAD)] for words in recent])
    if recent:
        lines.append([""])
    for row in proposals:
        lines.extend(lines_of(row))
    if not proposals:
        lines.append(["No proposal is pending."])
    most = shutil.get_terminal_size().lines - 1
    if len(lines) > most:
        lines[most - 1 :] = [[(f"… {len(lines) - most + 1} more lines: alpha-db risk proposals", DIM)]]
    shown = "\n".join(styled(parts, sys.stdout) for parts in lines)
    print(f"\x1b[H\x1b[2J\x1b[?7l{shown}\x1b[?7h", flush=True)  # a line that does not fit is cut, not wrapped
