"""alpha-db risk get-config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alpha_db.cli.common import NamedOption, Settings, database_options, finish
from alpha_db.cli.options import FILE
from alpha_db.cli.output import BAD, DIM, GOOD, HEAD, WARN, clean, emit_json, line
from alpha_db.errors import EXIT_DAMAGE, RiskTampered
from alpha_db.risk.cli.history import approvers, digits, read_or_text
from alpha_db.risk.config_manager import ConfigManager, Row
from alpha_db.risk.pins import Pins, load_pins
from alpha_db.shell.columns import rows


def pins_option(function: Any) -> Any:
    """Add --trust, the file of pinned keys, which the function gets as ``pins``."""
    return click.option(
        "--trust",
        "pins",
        cls=NamedOption,
        metavar="FILE",
        type=FILE,
        envvar="ALPHA_DB_RISK_TRUST",
        help="File of the agents' public keys that are trusted, pinned; the database's own are then not believed.",
    )(function)


@click.command("get-config", short_help="Show the active limits, and whether they verify.")
@pins_option
@database_options
def get_config(settings: Settings, as_json: bool, pins: Path | None) -> None:
    """Show the active limits, their version, who approved them, and whether every signature holds.

    The state is verified here, from the agents' signatures, and not on the database's word. Exits 1 if that
    finds that it was changed by force. What --json prints can be given to update-param --from.

    \b
    Examples:
      alpha-db risk get-config
      alpha-db risk get-config --trust keys.json --json > limits.json
    """
    pinned = load_pins(pins) if pins else None
    with settings.installed() as (conn, _):
        document = collect(ConfigManager(conn), pinned)
    if as_json:
        emit_json(document)
    else:
        _text(document)
    finish(0 if document["verified"] else EXIT_DAMAGE)


def collect(manager: ConfigManager, pins: Pins | None) -> Row:
    """Return what get-config prints."""
    active, problem = manager.active(), None
    try:
        verified = manager.verified(pins.keys if pins else None)
        if pins and pins.origin and pins.origin != verified.origin:
            raise RiskTampered(
                f"RSK-007: the installation is {verified.origin}, not the pinned one", sqlstate="RSK07"
            )
        if (verified.state_hash, verified.state.text) != (active["state_hash"], active["state_text"]):
            active = manager.active()  # it changed between the two reads
            verified = manager.verified(pins.keys if pins else None)
    except RiskTampered as caught:
        problem = caught
    names = {agent.agent_id: agent.name for agent in manager.agents()}
    last = next((row for row in reversed(manager.history()) if row["kind"] == "risk_config"), None)
    said = read_or_text(active["state_text"])
    if not isinstance(said, dict):  # put there by force, as `problem` says
        said = {"limits": None, "kill_thresholds": []}
    return {
        "version": active["version"],
        "limits": _printed(said["limits"]),
        "kill_thresholds": [_printed(item) for item in said["kill_thresholds"]],
        "limits_valid_from": active["limits_valid_from"],
        "limits_change": last and _who(last, names),
        "state_hash": active["state_hash"],
        "origin": active["origin"],
        "is_locked": active["is_locked"],
        "verified": problem is None,
        "keys_pinned": pins is not None,
        "problem": None if problem is None else problem.message,
        "read_at": active["read_at"],
    }


def _who(row: Row, names: dict[Any, str]) -> Row:
    by_text = {str(agent): name for agent, name in names.items()}
    return {
        "version": row["version"],
        "proposed_by": by_text.get(row["proposer"], row["proposer"]),
        "approved_by": approvers(row["approvals"], by_text),
        "reason": row["reason"],
        "applied_at": row["applied_at"],
    }


def _printed(values: dict[str, Any] | None) -> dict[str, Any] | None:
    """Decimals as the strings that a payload holds."""
    if values is None:
        return None
    return {k: v if v is None or isinstance(v, str) else digits(v) for k, v in values.items()}


def _text(document: Row) -> None:
    line((f"Risk state, version {document['version']}", HEAD))
    limits, change = document["limits"], document["limits_change"]
    if limits is None:
        line("  No limits yet: until there are some, nothing may be risked.")
    else:
        rows([[f"  {name}", value] for name, value in limits.items()], right=[1])
    for item in document["kill_thresholds"]:
        price = f", or at price {item['kill_price']}" if item["kill_price"] is not None else ""
        line(f"  kill {clean(item['asset'])} at a loss of {item['kill_loss_pct']}{price}")
    if change:
        approvers = ", ".join(map(clean, change["approved_by"]))
        line(("  limits since ", DIM), clean(document["limits_valid_from"]))
        line(("  proposed by  ", DIM), f"{clean(change['proposed_by'])}: {clean(change['reason'])}")
        line(("  approved by  ", DIM), approvers)
    line(("  hash         ", DIM), document["state_hash"])
    if document["verified"]:
        keys = "pinned keys" if document["keys_pinned"] else "the keys that the database names"
        line(("  verified     ", DIM), ("yes", GOOD), f", every signature, by {keys}")
    else:
        line(("  verified     ", DIM), ("NO", BAD), f": {clean(document['problem'])}")
    if document["is_locked"]:
        line(("  The lockdown is engaged: limits can only be tightened.", WARN))
