"""How the demo prints its chapter on risk limits."""

from __future__ import annotations

from typing import Any

from alpha_db.cli.output import BAD, GOOD, clean
from alpha_db.demo.paragraph import line

_SHORT = 16


def risk(data: dict[str, Any]) -> None:
    """Print what the chapter found."""
    agents = ", ".join(map(clean, data["agents"]))
    first, applied, refused = data["first"], data["applied"], data["refused"]
    line(f"   Agents: {agents}. Hydrator: Safe Mode, {clean(data['before'])}")
    votes = ", then ".join(map(clean, first["votes"]))
    line(f"     version {clean(first['version'])}: {_limits(first['limits'])}; {votes}")
    line("   One agent alone proposes more leverage, and votes for it:")
    line("     ", (clean(refused["RSK-004"]), GOOD) if "RSK-004" in refused else ("NOT REFUSED", BAD))
    line("   Less leverage takes one other agent's vote; the hydrator sees it", *_seen(data))
    state = clean((applied["state_hash"] or "-")[:_SHORT])
    line(f"     version {clean(applied['version'])}: {_limits(applied['limits'])}; {state}")
    decision = data["decision"]
    is_refused = decision["is_recorded"] and not decision["allowed"]
    outcome = (clean(decision["reason"]), GOOD) if is_refused else ("NOT REFUSED, OR NOT RECORDED", BAD)
    line("   Refused, on record: ", outcome)
    line(f"   {data['copied_by']}; there, as the superuser:")
    line("     ", (clean(refused["RSK-002"]), GOOD) if "RSK-002" in refused else ("NOT REFUSED", BAD))
    line("   So he switches the trigger off, and on again afterwards:")
    line(f"     {data['statements'][2]}")
    safe = data["safe_mode"]
    if not safe["entered"]:
        line(("   A hydrator there DID NOT NOTICE", BAD))
        return
    line("   ", (f"Safe Mode: {clean(safe['reason'])}", GOOD))


def _seen(data: dict[str, Any]) -> tuple[str | tuple[str, str], ...]:
    took = data["seen_by_hydrator_ms"]
    return ((" NEVER:", BAD),) if took is None else (f" in {took:.0f} ms:",)


def _limits(limits: dict[str, Any]) -> str:
    position, drawdown, leverage = (f"{value.normalize():f}" for value in limits.values())
    return f"position {position}, drawdown {drawdown}, leverage {leverage}"
