"""alpha-db risk watch."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import click

from alpha_db.cli.common import Settings, database_options, finish
from alpha_db.cli.options import FILE, Number
from alpha_db.cli.output import (
    BAD,
    DIM,
    GOOD,
    HEAD,
    Part,
    clean,
    emit_json,
    frame,
    is_terminal,
    line,
    put,
    styled,
    write_json,
)
from alpha_db.errors import EXIT_NOT_RUN, EXIT_OK
from alpha_db.risk import GuardrailState, RiskGuardrailService
from alpha_db.risk.cli.get_config import pins_option

_LIMITS = ("max_position_size_pct", "daily_drawdown_limit_pct", "max_leverage_ratio")


@click.command(short_help="Watch the limits as an order path gets them.")
@click.option("--once", is_flag=True, help="Print it once and end.")
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

    For metrics of the log use alpha-db watch. Through a pooler such as PgBouncer no notification arrives: limits are
    then read every half second only.

    With --once it waits for a verified state. It exits 0 if limits hold and 3 if it is in Safe Mode. --json prints one
    answer, or without --once one at each change; so does a pipe or a file, in words.

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
            if as_json or not is_terminal(sys.stdout):
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
    lines: list[list[Part]] = []
    while True:
        before = _facts(service.state)
        back = f"\x1b[{len(lines)}A\x1b[0J" if lines else ""
        lines = _lines(service.state, service.lease_left)
        shown = "\n".join(styled(parts, sys.stdout) for parts in lines)
        print(f"{back}\x1b[?7l{shown}\x1b[?7h", flush=True)  # a line that does not fit is cut, not wrapped
        service.wait_for(lambda now: _facts(now) != before, 0.25)  # noqa: B023


def _facts(state: GuardrailState) -> tuple[Any, ...]:
    return state.mode, state.reason, state.version, state.state_hash


def _code(state: GuardrailState) -> int:
    return EXIT_OK if state.is_normal else EXIT_NOT_RUN


def _print(state: GuardrailState, as_json: bool, *, is_last: bool) -> None:
    if not as_json:
        for parts in _lines(state, None):
            line(*parts)
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
        code = _code(state)
        put(lambda stream: write_json(frame(document, code), stream))  # one of several answers


def _lines(state: GuardrailState, lease: float | None) -> list[list[Part]]:
    left = [] if lease is None else [(f"  lease {lease:.1f} s", DIM)]
    mode = (state.mode.value, GOOD if state.is_normal else BAD)
    lines: list[list[Part]] = [[mode, (f"  version {clean(state.version)}", HEAD), *left]]
    if state.reason:
        lines.append([f"  {clean(state.reason)}"])
    lines.extend([f"  {name:<26}{getattr(state, name):>10}"] for name in _LIMITS)
    for item in state.kill_thresholds.values():
        price = "" if item.kill_price is None else f", or at price {item.kill_price}"
        lines.append([f"  kill {clean(item.asset)} at a loss of {item.kill_loss_pct}{price}"])
    lines.append([(f"  verified {clean(state.verified_at)}", DIM)])
    return lines
