"""docs/tampering.md, made of the catalogue: python -m tests.tampering.page writes it."""

from __future__ import annotations

from tests.tampering.by_agent import agents, quorum
from tests.tampering.by_application import application
from tests.tampering.by_auditor import auditor
from tests.tampering.by_risk import risk
from tests.tampering.by_stranger import stranger

LOWER = [stranger, application, auditor, risk, agents, quorum]
