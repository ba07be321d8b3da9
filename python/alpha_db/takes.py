"""What the writers take, one type for each table: a type checker finds a wrong name or a wrong type."""

# Annotations are no strings here, because NotRequired must be seen at run time.

from collections.abc import Mapping, Sequence
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NotRequired, TypedDict
from uuid import UUID

#: What the functions take for an amount.
Money = Decimal | int | str
#: What they take for JSON: a value, or the JSON text itself.
Json = Mapping[str, Any] | Sequence[Any] | str
Address = str | IPv4Address | IPv6Address


class WebhookArguments(TypedDict):
    """A delivery: the bytes as they arrived."""

    raw_body: bytes | bytearray | memoryview
    source_ip: NotRequired[Address | None]
    content_type: NotRequired[str | None]
    headers: NotRequired[Json | None]
    signature: NotRequired[str | None]
    hmac_verified: NotRequired[bool]


class SignalArguments(TypedDict):
    """A signal. signal_id is the key that the sender gave it."""

    signal_id: str
    symbol: str
    side: str
    price: Money
    quantity: Money
    raw_payload: Json
    source_ip: NotRequired[Address | None]
    hmac_verified: NotRequired[bool]
    correlation_id: NotRequired[UUID | str | None]
    delivery_id: NotRequired[int | None]


class AiDebateArguments(TypedDict):
    """What a model said about a signal."""

    correlation_id: UUID | str
    model_name: str
    reasoning_json: Json
    confidence_score: Money
    elapsed_ms: int
    is_timeout: NotRequired[bool]
    model_version: NotRequired[str | None]


class OrderArguments(TypedDict):
    """An order in one status. client_order_id, with the status, is the application's key."""

    correlation_id: UUID | str
    order_type: str
    symbol: str
    side: str
    quantity: Money
    price: NotRequired[Money | None]
    exchange_order_id: NotRequired[str | None]
    status: NotRequired[str]
    client_order_id: NotRequired[str | None]
    stop_price: NotRequired[Money | None]
    decision_maker: NotRequired[str | None]
    exchange_status: NotRequired[str | None]


class OrderEventArguments(TypedDict):
    """What happened to an order. exchange_event_id, with the order, is the exchange's key."""

    event_type: str
    order_execution_id: NotRequired[int | None]
    fill_quantity: NotRequired[Money | None]
    fill_price: NotRequired[Money | None]
    zar_equity: NotRequired[Money | None]
    positions_closed: NotRequired[Sequence[Any] | str | None]
    rejection_reason: NotRequired[str | None]
    exchange_error_code: NotRequired[str | None]
    exchange_event_id: NotRequired[str | None]
    exchange_status: NotRequired[str | None]
