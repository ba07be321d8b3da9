"""How the demo prints its chapter on the years."""

from __future__ import annotations

from typing import Any

from alpha_db.cli.output import BAD, GOOD, clean
from alpha_db.demo.council import AGENTS
from alpha_db.demo.leaving import BLOCK, LOG
from alpha_db.demo.paragraph import line
from alpha_db.shell.columns import rows

_BAD = "     not ok"


def years(data: dict[str, Any]) -> None:
    """Print what the chapter found."""
    _own_table(data["copied_by"], data["own_table"])
    _history(data["history"])
    _retention(data["retention"])


def _own_table(copied_by: str, data: dict[str, Any]) -> None:
    line(f"   {copied_by}; there, your own table:")
    for statement in data["statements"]:
        line(f"     {statement}")
    refused = next(iter(data["refused"].values()), None)
    line("   From now on it is append-only and hashed. A superuser tries:")
    line(f"     {data['tried']}")
    line("     ", (clean(refused), GOOD) if refused else ("NOT REFUSED", BAD))


def _history(data: dict[str, Any]) -> None:
    line("   A table that changes can keep its history; here of three changes:")
    for statement in data["statements"]:
        line(f"     {statement}")
    changes = [
        (change["operation"], f"{change['before'] or '-'} -> {change['after'] or '-'}")
        for change in data["changes"]
    ]
    rows(changes, indent="     ")
    held = ", ".join(f"{clean(row['symbol'])} {clean(row['quantity'])}" for row in data["as_of"])
    line(f"   table_as_of, right after the second: {held or '-'}")
    line("   Behind its back, with the triggers switched off:")
    line(f"     {data['behind_the_back']}")
    found = data["found"]
    if found is None:
        line(("     NOT FOUND", BAD))
        return
    recorded, present = ((found[name] or {}).get("quantity", "-") for name in ("recorded", "present"))
    what = f"{clean(data['verdict'])} ({clean(data['code'])})"
    line(
        (_BAD, BAD),
        f"  {clean(found['table_name'])}: {what}: {clean(present)}, recorded was {clean(recorded)}",
    )


def _retention(data: dict[str, Any]) -> None:
    if data["too_few"]:
        line(f"   {LOG} has too few rows to show how old ones leave: they leave {BLOCK} at a time.")
        return
    line("   Years later old rows may leave. retention_plan says which, and why no more:")
    plan = [(row["table"], f"1 to {row['through_id']:,}", row["limited_by"]) for row in data["plan"]]
    rows(plan, right=[1], indent="     ")
    proposer, *others = AGENTS
    votes = ", then ".join(map(clean, data["votes"]))
    line("   They are written into files that prove themselves, and agents decide:")
    line(f"     proposed by {proposer}, approved by {' and '.join(others)}: {votes}")
    deleted = sum(data["deleted"].values())
    outcome = ("     ok", GOOD) if data["intact"] else ("     NOT INTACT", BAD)
    line(f"   prune_archived deletes {deleted:,} rows; then all is verified:")
    line(outcome, f"      {data['chains']} chains: intact. Of {LOG} it says:")
    line(f"     {clean(data['verdict'])}")
    line("   The next row, deleted by hand (the trigger switched off), is damage:")
    line(f"     {data['statement']}")
    found = data["found"]
    if found is None:
        line(("     NOT FOUND", BAD))
        return
    place = f"{clean(found['table'])}, row {clean(found['id'])}"
    line((_BAD, BAD), f"  {place}: {clean(found['verdict'])} ({clean(found['code'])})")
