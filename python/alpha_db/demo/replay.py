"""Writing the desk's decisions through the stored functions, as an application would."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any
from uuid import UUID

import psycopg

from alpha_db.demo.desk import Decision
from alpha_db.writers import record_ai_debate, record_order, record_order_event, record_signal, record_webhook

#: Webhooks in one transaction; each commit waits for the disk.
BATCH = 50

Listener = Callable[[int], None]


class Replay:
    """Writes decisions in batches, one transaction each."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self._conn = conn
        self._deliveries: dict[str, int] = {}
        self._correlations: dict[str, UUID] = {}
        self._orders: dict[str, int] = {}
        self.transactions = 0

    def run(self, decisions: Iterator[Decision], listener: Listener) -> None:
        """Write everything, and tell the listener after each transaction how many webhooks it held.

        Raises what the writing functions raise.
        """
        while batch := list(islice(decisions, BATCH)):
            with self._conn.transaction():
                # A transaction that writes several tables takes them in this order (docs/sql/application.md).
                self._deliver(batch)
                self._signals(batch)
                self._debates(batch)
                self._submit(batch)
                self._events(batch)
            self.transactions += 1
            listener(len(batch))

    def again(self, decisions: Sequence[Decision]) -> None:
        """Write decisions a second time, as if their webhooks were delivered again. The models are not asked again.

        Raises what the writing functions raise.
        """
        with self._conn.transaction():
            self._deliver(decisions)
            self._signals(decisions)
            self._submit(decisions)
            self._events(decisions)

    def _deliver(self, batch: Sequence[Decision]) -> None:
        for decision in batch:
            webhook = decision.webhook
            row = record_webhook(
                self._conn,
                raw_body=webhook.body.encode(),
                source_ip=webhook.source_ip,
                content_type="application/json",
                signature=webhook.signature,
                hmac_verified=webhook.verified(),
            )
            self._deliveries[decision.alert_id] = row["id"]

    def _signals(self, batch: Sequence[Decision]) -> None:
        for decision in batch:
            webhook = decision.webhook
            alert = webhook.parse()
            row = record_signal(
                self._conn,
                signal_id=alert["id"],
                symbol=alert["ticker"],
                side=alert["action"].upper(),
                price=alert["price"],
                quantity=alert["quantity"],
                raw_payload=webhook.body,
                source_ip=webhook.source_ip,
                hmac_verified=webhook.verified(),
                delivery_id=self._deliveries[alert["id"]],
            )
            self._correlations[alert["id"]] = row["correlation_id"]

    def _debates(self, batch: Sequence[Decision]) -> None:
        for decision in batch:
            for debate in decision.debates:
                record_ai_debate(
                    self._conn,
                    correlation_id=self._correlations[decision.alert_id],
                    model_name=debate.model_name,
                    reasoning_json=debate.reasoning,
                    confidence_score=debate.confidence,
                    elapsed_ms=debate.elapsed_ms,
                    is_timeout=debate.is_timeout,
                )

    def _submit(self, batch: Sequence[Decision]) -> None:
        for decision in batch:
            order = decision.order
            if order is None:
                continue
            correlation = self._correlations[decision.alert_id]
            # PENDING before it is sent, and again with the id that the exchange gave it.
            for status, exchange_id in (("PENDING", None), ("SUBMITTED", order.exchange_order_id)):
                row = record_order(
                    self._conn,
                    correlation_id=correlation,
                    client_order_id=correlation.hex,
                    order_type=order.order_type,
                    symbol=order.symbol,
                    side=order.side,
                    quantity=order.quantity,
                    price=order.price,
                    exchange_order_id=exchange_id,
                    status=status,
                )
                self._orders[decision.alert_id] = row["id"]

    def _events(self, batch: Sequence[Decision]) -> None:
        for decision in batch:
            for number, event in enumerate(decision.events, 1):
                record_order_event(
                    self._conn,
                    order_execution_id=self._orders[event.alert_id],
                    event_type=event.event_type,
                    exchange_event_id=f"{decision.alert_id}-{number}",
                    **event.values,
                )
