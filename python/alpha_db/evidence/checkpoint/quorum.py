"""Whether enough witnesses cosigned a checkpoint, as a policy demands. Source: c2sp.org/tlog-policy."""

from __future__ import annotations

from collections.abc import Iterable

from alpha_db.evidence import offline_check
from alpha_db.evidence.offline_check import Policy
from alpha_db.security.ed25519 import verify


def cosigners(notes: Iterable[str], policy: Policy) -> dict[str, str]:
    """Return who of a policy's witnesses cosigned, with the time; takes all notes of one checkpoint."""
    return offline_check.cosigners(notes, policy, verify)


def require_quorum(notes: Iterable[str], policy: Policy | None) -> dict[str, str]:
    """Return who cosigned, nobody without a policy. Raises Refused if that is no quorum."""
    return offline_check.require_quorum(notes, policy, verify)
