"""What the writers give, one type for each table. At run time each is a dict."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypedDict
from uuid import UUID


class Stored(TypedDict):
    """What every stored row has. is_new is false if a retry found the row there already."""

    id: int
    row_hash: str
    created_at: datetime
    recorded_by: str
    is_new: bool


class RecordedWebhook(Stored):
    """A delivery: its body as JSON, or why it is none, and whether the whole body is kept."""

    body: Any
    body_problem: str | None
    is_whole: bool
    body_size: int
    body_sha256: str


class RecordedSignal(Stored):
    """A row of signals."""

    correlation_id: UUID
    signal_id: str
    symbol: str
    side: str
    price: Decimal
    quantity: Decimal
    raw_payload: Any
    source_ip: IPv4Address | IPv6Address | None
    hmac_verified: bool
    delivery_id: int | None


class RecordedAiDebate(Stored):
    """A row of ai_debates."""

    correlation_id: UUID
    model_name: str
    reasoning_json: Any
    confidence_score: Decimal
    elapsed_ms: int
    is_timeout: bool
    model_version: str | None


class RecordedOrder(Stored):
    """A row of order_execution."""

    correlation_id: UUID
    order_type: str
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal | None
    exchange_order_id: str | None
    status: str
    client_order_id: str | None
    stop_price: Decimal | None
    decision_maker: str | None
    exchange_status: str | None


class RecordedOrderEvent(Stored):
    """A row of order_events."""

    order_execution_id: int | None
    event_type: str
    fill_quantity: Decimal | None
    fill_price: Decimal | None
    zar_equity: Decimal | None
    positions_closed: Any
    rejection_reason: str | None
    exchange_error_code: str | None
    exchange_event_id: str | None
    exchange_status: str | None


class Appended(TypedDict):
    """What an append gives: where the row stands, and whether this call recorded it."""

    id: int
    correlation_id: UUID
    row_hash: str
    is_new: bool


class AppendedOrderEvent(TypedDict):
    """As Appended. Inside a transaction, and of many, correlation_id is None."""

    id: int
    correlation_id: UUID | None
    row_hash: str
    is_new: bool


class AppendedWebhook(TypedDict):
    """Where a delivery stands, and its body as JSON, or why it is none."""

    id: int
    row_hash: str
    is_new: bool
    body: Any
    body_problem: str | None
    is_whole: bool
