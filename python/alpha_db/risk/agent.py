"""An agent as the database lists it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

Row = dict[str, Any]


@dataclass(frozen=True)
class Agent:
    """An agent as it is enrolled."""

    agent_id: UUID
    name: str
    role: str
    public_key: str
    replaces: UUID | None
    proposal_id: UUID | None
    enrolled_at: datetime
    revoked_at: datetime | None
