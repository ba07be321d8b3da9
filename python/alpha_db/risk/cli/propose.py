"""alpha-db risk update-param, set-kill-threshold and quorum-policy: proposals, each signed by one agent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from alpha_db.cli.common import Settings, database_options
from alpha_db.cli.options import FILE
from alpha_db.errors import FileUnreadable, RiskValueRefused
from alpha_db.risk.cli.history import digits
from alpha_db.risk.cli.signing import Signing, proposal_options, send_proposal
from alpha_db.risk.config_manager import ConfigManager
from alpha_db.security.payloads import MEMBERS, check_payload, is_decimal
from alpha_db.security.reading import read_answer
from alpha_db.security.signed_text import load_json

Change = tuple[str, str, str]
NAMES = MEMBERS["risk_config"]


@click.command("update-param", short_help="Propose new limits.")
@click.argument("pairs", metavar="[NAME VALUE]...", nargs=-1)
@click.option(
    "--from",
    "source",
    metavar="FILE",
    type=FILE,
    help="The limits from a JSON file, such as get-config --json writes; - is standard input.",
)
@proposal_options
@database_options
def update_param(
    settings: Settings,
    as_json: bool,
    signing: Signing,
    pairs: tuple[str, ...],
    source: Path | None,
    reason: str,
    lifetime: timedelta,
) -> None:
    """Propose new limits: max_position_size_pct, daily_drawdown_limit_pct, max_leverage_ratio.

    Shows old and new values, what the change needs and the exact text, and asks before it signs and sends.
    What is not named stays as it is. Nothing changes until other agents approve.

    On a standby this is refused: exit 3.

    \b
    Examples:
      alpha-db risk update-param max_leverage_ratio 1.5 --reason "thin book" \\
        --key ada.key
      alpha-db risk update-param --from limits.json --reason "ticket 42" \\
        --agent ada --key ada.key --yes
    """
    given = _pairs(pairs)
    if bool(given) == (source is not None):
        raise click.UsageError("give either NAME VALUE, or --from FILE")
    if source is not None:
        given = read_limits(source)
    with settings.installed(writes=True) as (conn, _):
        manager = ConfigManager(conn)
        now = load_json(manager.active()["state_text"])["limits"] or {}
        if missing := [name for name in NAMES if name not in given and name not in now]:
            raise click.UsageError(f"there are no limits yet: give {', '.join(missing)} as well")
        old = {name: _number(now.get(name)) for name in NAMES}
        payload = {name: given.get(name, old[name]) for name in NAMES}
        _check("risk_config", payload)
        _send(manager, signing, "risk_config", payload, old, reason, lifetime, as_json)


@click.command("set-kill-threshold", short_help="Propose when positions in an asset are killed.")
@click.argument("asset")
@click.option(
    "--loss-pct", metavar="SHARE", help="Loss, as a share from 0 to 1, at which the position is killed."
)
@click.option("--price", metavar="PRICE", help="Price at which it is killed; none: no such price.")
@click.option("--retire", is_flag=True, help="End the asset's threshold.")
@proposal_options
@database_options
def set_kill_threshold(
    settings: Settings,
    as_json: bool,
    signing: Signing,
    asset: str,
    loss_pct: str | None,
    price: str | None,
    retire: bool,
    reason: str,
    lifetime: timedelta,
) -> None:
    """Propose the kill threshold of an asset; what is not given stays as it is.

    On a standby this is refused: exit 3.

    \b
    Examples:
      alpha-db risk set-kill-threshold BTC --loss-pct 0.1 --price 30000 \\
        --reason "limit" --key ada.key
      alpha-db risk set-kill-threshold BTC --price none --reason "no stop" \\
        --key ada.key
      alpha-db risk set-kill-threshold BTC --retire --reason "delisted" \\
        --key ada.key
    """
    if retire == bool(loss_pct or price):
        raise click.UsageError("give --loss-pct or --price, or --retire")
    with settings.installed(writes=True) as (conn, _):
        manager = ConfigManager(conn)
        stands = load_json(manager.active()["state_text"])["kill_thresholds"]
        now: dict[str, Any] = next((item for item in stands if item["asset"] == asset), {})
        if not now and retire:
            raise click.UsageError(f"{asset} has no kill threshold")
        if not now and loss_pct is None:
            raise click.UsageError(f"{asset} has no kill threshold yet: give --loss-pct")
        old: dict[str, Any] = {
            "kill_loss_pct": _number(now.get("kill_loss_pct")),
            "kill_price": _number(now.get("kill_price")),
        }
        payload = {
            "asset": asset,
            "kill_loss_pct": loss_pct or old["kill_loss_pct"],
            "kill_price": old["kill_price"] if price is None else None if price == "none" else price,
            "retired": retire,
        }
        _check("asset_kill_threshold", payload)
        if retire:
            old["retired"] = False
        _send(manager, signing, "asset_kill_threshold", payload, old, reason, lifetime, as_json)


@click.command("quorum-policy", short_help="Propose how many approvals changes need.")
@click.option("--tighten", type=int, required=True, help="For a change that tightens all it touches.")
@click.option("--loosen", type=int, required=True, help="For any other change of limits; at least 2.")
@click.option("--govern", type=int, required=True, help="For agents and this policy; at least 2.")
@proposal_options
@database_options
def quorum_policy(
    settings: Settings,
    as_json: bool,
    signing: Signing,
    tighten: int,
    loosen: int,
    govern: int,
    reason: str,
    lifetime: timedelta,
) -> None:
    """Propose how many approvals besides the proposer's signature a change needs.

    It needs as many approvals itself as the old policy asks for anything.

    On a standby this is refused: exit 3.

    \b
    Example:
      alpha-db risk quorum-policy --tighten 1 --loosen 3 --govern 3 \\
        --reason "two desks more" --key ada.key
    """
    payload = {"tighten": tighten, "loosen": loosen, "govern": govern}
    _check("quorum_policy", payload)
    with settings.installed(writes=True) as (conn, _):
        manager = ConfigManager(conn)
        policy = manager.verified().replay.policy
        _send(manager, signing, "quorum_policy", payload, vars(policy), reason, lifetime, as_json)


def read_limits(source: Path) -> dict[str, str]:
    """Return the three limits of a JSON file: a payload, or what get-config --json prints.

    Raises what read_answer raises, and FileUnreadable for what holds no limits.
    """
    said = read_answer(source)
    limits = said.get("limits", said) if isinstance(said, dict) else None
    if not isinstance(limits, dict) or set(limits) != set(NAMES):
        raise FileUnreadable(f"{source} does not hold exactly {', '.join(NAMES)}")
    if not all(isinstance(value, str) for value in limits.values()):
        raise FileUnreadable(f"{source}: limits are decimals in quotes, so that no program rounds them")
    return limits


def _pairs(pairs: tuple[str, ...]) -> dict[str, str]:
    if len(pairs) % 2:
        raise click.UsageError(f"{pairs[-1]} has no value")
    given: dict[str, str] = {}
    for name, value in zip(pairs[::2], pairs[1::2], strict=True):
        if name not in NAMES:
            raise click.UsageError(f"{name} is not a limit: {', '.join(NAMES)}")
        if name in given:
            raise click.UsageError(f"{name} is given twice")
        given[name] = value
    return given


# what to do about a payload that is refused, for each kind that has a command here
_DECIMALS = (
    "decimals: digits and a point, no sign, no exponent; alpha-db risk get-config shows those in force."
)
_HINTS = {
    "risk_config": f"Give {_DECIMALS}",
    "asset_kill_threshold": f"Give a short, visible name as the asset, and {_DECIMALS}",
    "quorum_policy": "Give whole numbers from 1 to 9, for --loosen and --govern at least 2.",
}


def _check(kind: str, payload: Mapping[str, Any]) -> None:
    """Raise RSK-001 as the database would, before anybody is asked to sign."""
    try:
        check_payload(kind, payload)
    except ValueError as problem:
        column = next((name for name in payload if name in str(problem)), None)
        raise RiskValueRefused(
            f"RSK-001: {problem}", hint=_HINTS[kind], sqlstate="RSK01", column=column
        ) from None


def _send(
    manager: ConfigManager,
    signing: Signing,
    kind: str,
    payload: Mapping[str, Any],
    old: Mapping[str, Any],
    reason: str,
    lifetime: timedelta,
    as_json: bool,
) -> None:
    changes: list[Change] = [
        (name, _shown(before), _shown(payload[name]))
        for name, before in old.items()
        if _value(before) != _value(payload[name])
    ]
    if not changes:
        raise click.UsageError("nothing would change")
    send_proposal(
        manager, signing, kind, payload, reason=reason, lifetime=lifetime, as_json=as_json, changes=changes
    )


def _number(value: Any) -> str | None:
    return None if value is None else digits(value)


def _value(value: Any) -> Any:
    """The value by which two spellings of a decimal are equal; any other text is itself."""
    return Decimal(value) if isinstance(value, str) and is_decimal(value) else value


def _shown(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
