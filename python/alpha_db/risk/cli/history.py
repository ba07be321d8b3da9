"""alpha-db risk history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from alpha_db.cli.common import Settings, database_options
from alpha_db.cli.options import Integer
from alpha_db.cli.output import DIM, HEAD, clean, emit_json, line
from alpha_db.errors import shown
from alpha_db.risk.cli.retained import KINDS, in_words
from alpha_db.risk.config_manager import Agent, ConfigManager, Row
from alpha_db.security.signed_text import load_json


@click.command(short_help="Show who changed what, when and why.")
@click.option("--limit", type=Integer(min=1), help="Only the last so many changes.")
@database_options
def history(settings: Settings, as_json: bool, limit: int | None) -> None:
    """Show every applied change, oldest first: when, what, proposed and approved by whom, and why.

    \b
    Examples:
      alpha-db risk history
      alpha-db risk history --limit 5 --json
    """
    with settings.installed() as (conn, _):
        manager = ConfigManager(conn)
        entries = timeline(manager.history(), manager.agents())
    entries = entries[-limit:] if limit else entries
    if as_json:
        emit_json(entries)
        return
    for entry in entries:
        line((f"{entry['version']:>4}  {clean(entry['applied_at'])}", HEAD), f"  {clean(entry['kind'])}")
        for change in entry["changes"]:
            line("      ", clean(change))
        by, approvers = clean(entry["proposed_by"]), ", ".join(map(clean, entry["approved_by"]))
        line(("      by ", DIM), by, (", approved by ", DIM), approvers)
        line(("      why: ", DIM), clean(entry["reason"]))
    if not entries:
        line("Nothing was changed yet.")


def timeline(changes: list[Row], agents: list[Agent]) -> list[Row]:
    """Return the changes for people: names instead of ids, differences instead of states."""
    names = {str(agent.agent_id): agent.name for agent in agents}
    before: Any = {"limits": None, "kill_thresholds": []}
    entries = []
    for row in changes:
        after, payload = read_or_text(row["state_text"]), read_or_text(row["payload"])
        entries.append(
            {
                "version": row["version"],
                "applied_at": row["applied_at"],
                "kind": row["kind"],
                "changes": _changes(row["kind"], payload, before, after, names),
                "proposed_by": names.get(row["proposer"], row["proposer"]),
                "approved_by": approvers(row["approvals"], names),
                "reason": row["reason"],
                "payload": payload,
                "state_hash": row["state_hash"],
            }
        )
        before = before if isinstance(after, str) else after
    return entries


def read_or_text(text: str) -> Any:
    """The value of JSON text; the text itself if it is none that can be read."""
    try:
        return load_json(text)
    except ValueError:
        return text


def approvers(approvals: str, names: dict[str, str]) -> list[str]:
    """The names of those who approved, in the order in which they signed; the text itself if it cannot be read."""
    votes = read_or_text(approvals)
    try:
        votes = sorted(votes, key=lambda vote: str(vote["signed_at"]))
        return [names.get(vote["agent_id"], vote["agent_id"]) for vote in votes]
    except (TypeError, LookupError):
        return [str(votes)]


def _changes(kind: str, payload: Any, before: Any, after: Any, names: dict[str, str]) -> list[str]:
    """What a change did, in words; an entry that was put there by force must not hide the others."""
    try:
        return list(_differences(kind, payload, before, after, names))
    except (TypeError, ValueError, LookupError, AttributeError):
        return ["this cannot be read: alpha-db risk verify"]


def _differences(kind: str, payload: Any, before: Any, after: Any, names: dict[str, str]) -> Iterator[str]:
    if kind == "risk_config":
        old = before["limits"] or {}
        for name, value in after["limits"].items():
            if old.get(name) != value:
                yield f"{name} {_said(old.get(name))} → {_said(value)}"
    elif kind == "asset_kill_threshold":
        asset = payload["asset"]
        old, new = (_threshold(state, asset) for state in (before, after))
        yield f"{asset} {old} → {new}"
    elif kind == "agent_enrol":
        place = f" in the place of {_name(payload['replaces'], names)}" if payload["replaces"] else ""
        yield f"{payload['name']} enrolled{place}"
    elif kind == "agent_revoke":
        yield f"{_name(payload['agent_id'], names)} revoked"
    elif kind == "quorum_policy":
        yield ", ".join(f"{name} {payload[name]}" for name in ("tighten", "loosen", "govern"))
    elif kind == "lockdown_release":
        places = ", ".join(f"{item['table']} {item['id']}" for item in payload["damage"]) or "none"
        yield f"lockdown released, damage acknowledged: {places}"
    elif kind in KINDS:
        yield from in_words(kind, payload)
    else:
        raise ValueError(f"unknown kind of proposal: {shown(kind, 40)}")


def _threshold(state: Any, asset: str) -> str:
    for item in state["kill_thresholds"]:
        if item["asset"] == asset:
            price = "" if item["kill_price"] is None else f" or at {_said(item['kill_price'])}"
            return f"killed at a loss of {_said(item['kill_loss_pct'])}{price}"
    return "no threshold"


def digits(value: Any) -> str:
    """A number of the state in digits, without an exponent; a whole number stays one."""
    return str(value) if isinstance(value, int) else format(value, "f")


def _said(value: Any) -> str:
    return "none" if value is None else digits(value)


def _name(agent_id: str, names: dict[str, str]) -> str:
    return names.get(agent_id, agent_id)
