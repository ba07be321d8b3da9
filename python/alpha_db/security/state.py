"""The risk state: the limits and kill thresholds that one canonical text says. Source: docs/risk.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from types import MappingProxyType
from typing import Any

from alpha_db.errors import shown
from alpha_db.security.signed_text import digest_of, json_string, load_json

#: Wide enough for every value; the caller's own decimal context must not round a limit.
EXACT = Context(prec=120)

_SCALES = {
    "max_position_size_pct": Decimal("1e-4"),
    "daily_drawdown_limit_pct": Decimal("1e-4"),
    "max_leverage_ratio": Decimal("1e-2"),
    "kill_loss_pct": Decimal("1e-4"),
    "kill_price": Decimal("1e-10"),
}
_HIGHEST = {
    "max_position_size_pct": Decimal(1),
    "daily_drawdown_limit_pct": Decimal(1),
    "max_leverage_ratio": Decimal(100),
    "kill_loss_pct": Decimal(1),
    "kill_price": Decimal("999999999999999999.9999999999"),
}


@dataclass(frozen=True)
class Limits:
    """The limits in force."""

    max_position_size_pct: Decimal
    daily_drawdown_limit_pct: Decimal
    max_leverage_ratio: Decimal


@dataclass(frozen=True)
class KillThreshold:
    """When a position in an asset is killed."""

    asset: str
    kill_loss_pct: Decimal
    kill_price: Decimal | None = None


@dataclass(frozen=True)
class RiskState:
    """A version of the risk state. Equal states have the same text."""

    version: int = 0
    limits: Limits | None = None
    kill_thresholds: Mapping[str, KillThreshold] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kill_thresholds", MappingProxyType(dict(self.kill_thresholds)))

    @property
    def text(self) -> str:
        """The canonical text: JSON without spaces, decimals at column scale, thresholds sorted by asset."""
        thresholds = ",".join(
            f'{{"asset":{json_string(asset)},"kill_loss_pct":{_scaled("kill_loss_pct", item.kill_loss_pct)}'
            f',"kill_price":{_scaled("kill_price", item.kill_price)}}}'
            for asset, item in sorted(self.kill_thresholds.items())
        )
        return f'{{"version":{self.version},"limits":{self._limits_text()},"kill_thresholds":[{thresholds}]}}'

    @property
    def hash(self) -> str:
        """SHA-256 of the text, in hex."""
        return digest_of(self.text)

    def _limits_text(self) -> str:
        if self.limits is None:
            return "null"
        names = ("max_position_size_pct", "daily_drawdown_limit_pct", "max_leverage_ratio")
        return "{" + ",".join(f'"{name}":{_scaled(name, getattr(self.limits, name))}' for name in names) + "}"

    @classmethod
    def parse(cls, text: str) -> RiskState:
        """Return the state that a canonical text says.

        Raises ValueError unless every value is within its bounds and the state prints as the same text.
        """
        said = load_json(text)
        if not isinstance(said, dict) or type(said.get("version")) is not int or said["version"] < 0:
            raise ValueError("the state is not an object with a version")
        limits, thresholds = said.get("limits"), said.get("kill_thresholds")
        if not isinstance(thresholds, list):
            raise ValueError("the state has no kill_thresholds")
        state = cls(
            said["version"],
            None if limits is None else Limits(**_checked(limits, _LIMITS)),
            {item["asset"]: KillThreshold(**_checked(item, _THRESHOLD)) for item in thresholds},
        )
        if state.text != text:
            raise ValueError("the state is not printed canonically")
        return state


EMPTY_STATE = RiskState()
_LIMITS = frozenset(Limits.__dataclass_fields__)
_THRESHOLD = frozenset(KillThreshold.__dataclass_fields__)


def bounded(name: str, value: Any) -> Decimal:
    """Return a parameter's value as a Decimal. Raises ValueError unless it is finite and within its bounds."""
    number = value if isinstance(value, Decimal) else Decimal(value) if type(value) is int else None
    if number is None or not number.is_finite() or not 0 <= number <= _HIGHEST[name]:
        raise ValueError(f"{name} is out of bounds: {shown(value)}")
    if name == "kill_price" and number == 0:
        raise ValueError("kill_price is zero")
    return number


def places(name: str) -> int:
    """Return how many decimals a parameter has."""
    exponent = _SCALES[name].as_tuple().exponent
    assert isinstance(exponent, int)
    return -exponent


def _checked(said: Any, names: frozenset[str]) -> dict[str, Any]:
    if not isinstance(said, dict) or set(said) != names:
        raise ValueError(f"not the members {', '.join(sorted(names))}: {shown(said, 100)}")
    values: dict[str, Any] = {}
    for name, value in said.items():
        if name == "asset":
            if not isinstance(value, str) or not value:
                raise ValueError(f"not an asset: {shown(value)}")
            values[name] = value
        elif name == "kill_price" and value is None:
            values[name] = None
        else:
            values[name] = bounded(name, value)
    return values


def _scaled(name: str, value: Decimal | None) -> str:
    return "null" if value is None else format(value.quantize(_SCALES[name], context=EXACT), "f")
