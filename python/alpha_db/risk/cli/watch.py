"""alpha-db risk watch."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import click
from rich.live import Live
from rich.text import Text

from alpha_db.cli.common import Settings, database_options, finish
from alpha_db.cli.options import FILE, Number
from alpha_db.cli.output import BAD, DIM, GOOD, HEAD, PlainConsole, clean, emit_json, write_part
from alpha_db.errors import EXIT_NOT_RUN, EXIT_OK
from alpha_db.risk import GuardrailState, RiskGuardrailService
from alpha_db.risk.cli.get_config import pins_option

_LIMITS = ("max_position_size_pct", "daily_drawdown_limit_pct", "max_leverage_ratio")


@click.command(short_help="Watch the limits as an order path gets them.")
@click.option("--once", is_flag=True, help="Wait for a verified state, print it and end.")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=Number(min=0),
    default=10,
    show_default=True,
    help="How long --once waits.",
)
@click.option(
    "--high-water",
    metavar="FILE",
    type=FILE,
    help="File with the highest version seen: an older state is then refused.",
)
@pins_option
@database_options
def watch(
    settings: Settings, as_json: bool, once: bool, timeout: float, pins: Path | None, high_water: Path | None
) -> None:
    """Show the limits as a running guardrail holds them, verified, with its lease; Ctrl-C ends.

    Through a pooler such as PgBouncer no notification arrives: limits are then read every half second only.

    With --once exits 0 if limits hold and 3 if it is in Safe Mode. --json prints one answer, or without
    --once one at each change; so does a pipe or a file, in words.

    \b
    Examples:
      alpha-db risk watch --trust keys.json
      alpha-db risk watch --once --json
    """
    with settings.installed():
        pass  # a wrong place is told at once, and not as Safe Mode
    service = RiskGuardrailService(settings.dsn, schema=settings.schema, pins=pins, high_water=high_water)
    with service:
        if once:
            service.wait_for(lambda state: state.is_normal, timeout)
            state = service.state
            _print(state, as_json, is_last=True)
            finish(_code(state))
            return
        with contextlib.suppress(KeyboardInterrupt):
            if as_json or not PlainConsole().is_terminal:
                _follow(service, as_json)
            else:
                _live(service)


def _follow(service: RiskGuardrailService, as_json: bool) -> None:
    shown: GuardrailState | None = None
    while True:
        state = service.state
        if shown is None or _facts(state) != _facts(shown):
            _print(state, as_json, is_last=False)
            sys.stdout.flush()
            shown = state
        service.wait_for(lambda now: _facts(now) != _facts(state), 1.0)  # noqa: B023


def _live(service: RiskGuardrailService) -> None:
    with Live(_text(service.state, service.lease_left), console=PlainConsole(), auto_refresh=False) as live:
        while True:
            before = _facts(service.state)
            service.wait_for(lambda now: _facts(now) != before, 0.25)  # noqa: B023
            live.update(_text(service.state, service.lease_left), refresh=True)


def _facts(state: GuardrailState) -> tuple[Any, ...]:
    return state.mode, state.reason, state.version, state.state_hash


def _code(state: GuardrailState) -> int:
    return EXIT_OK if state.is_normal else EXIT_NOT_RUN


def _print(state: GuardrailState, as_json: bool, *, is_last: bool) -> None:
    if not as_json:
        PlainConsole().print(_text(state, None))
        return
    document = {
        "mode": state.mode.value,
        "reason": state.reason,
        "version": state.version,
        "state_hash": state.state_hash,
        "limits": {name: getattr(state, name) for name in _LIMITS},
        "kill_thresholds": [vars(item) for item in state.kill_thresholds.values()],
        "is_locked": state.is_locked,
        "verified_at": state.verified_at,
    }
    if is_last:
        emit_json(document)
    else:
        write_part(document, _code(state))


def _text(state: GuardrailState, lease: float | None) -> Text:
    text = Text()
    text.append(f"{state.mode.value}", GOOD if state.is_normal else BAD)
    text.append(f"  version {clean(state.version)}", HEAD)
    if lease is not None:
        text.append(f"  lease {lease:.1f} s", DIM)
    if state.reason:
        text.append(f"\n  {clean(state.reason)}")
    for name in _LIMITS:
        text.append(f"\n  {name:<26}{getattr(state, name):>10}")
    for item in state.kill_thresholds.values():
        price = "" if item.kill_price is None else f", or at price {item.kill_price}"
        text.append(f"\n  kill {clean(item.asset)} at a loss of {item.kill_loss_pct}{price}")
    text.append(f"\n  verified {clean(state.verified_at)}", DIM)
    return text
