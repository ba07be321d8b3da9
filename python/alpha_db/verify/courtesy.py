"""Telling those who listen that something changed: a courtesy, on which nothing depends.

NOTIFY fails at commit when somebody has filled the queue, so it never shares a transaction with what it tells of.
Hydrators read again twice a second without it.
"""

from __future__ import annotations

import logging
from typing import Any

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus

from alpha_db.queries import ask

logger = logging.getLogger(__name__)

RISK, LOCKDOWN = "alpha_risk", "alpha_lockdown"


def tell(conn: psycopg.Connection[Any], *channels: str) -> None:
    """Notify channels, each in a transaction of its own; raises nothing.

    Only by a connection in autocommit that is in no transaction: in the caller's own it could fail his commit.
    """
    for channel in channels:
        if (
            not conn.autocommit
            or conn.info.transaction_status != TransactionStatus.IDLE
            or conn.pgconn.pipeline_status != PipelineStatus.OFF
        ):
            logger.debug("%s was not notified: a transaction is open", channel)
            return
        try:
            ask(conn, "notify", channel=channel)
        except psycopg.Error as problem:
            logger.debug("%s was not notified: %s", channel, problem)
