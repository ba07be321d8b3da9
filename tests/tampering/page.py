"""docs/tampering.md, made of the catalogue. To write it again: python -m tests.tampering.page"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.tampering.by_agent import agents, quorum
from tests.tampering.by_application import application
from tests.tampering.by_auditor import auditor
from tests.tampering.by_dba import dba
from tests.tampering.by_disk import disk
from tests.tampering.by_owner import owner
from tests.tampering.by_risk import risk
from tests.tampering.by_stranger import stranger
from tests.tampering.by_superuser import superuser
from tests.tampering.by_table_owner import table_owner
from tests.tampering.catalogue import Attack, Section
from tests.tampering.outcomes import FOUND, HARMLESS, NOT_FOUND, REFUSED

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tampering.md"
LOWER = [stranger, application, auditor, risk, agents, quorum]
UPPER = [table_owner, dba, owner, superuser, disk]
SECTIONS = LOWER + UPPER

HEAD = """\
# A catalogue of tampering

What an attacker can try, and what comes of it. Each row is a test that makes the attack, on PostgreSQL 15 and on 18,
and asserts what the row says. This page is generated from those tests, so it promises nothing that they do not.
[threat-model](threat-model.md) sums it up. [errors](errors.md) explains the codes, and
[chain-format](chain-format.md#verdicts) the verdicts.

- *Refused*: the last statement of the attack raised this code. A code of five characters without a hyphen is
  PostgreSQL's own.
- *Found*: the attack goes through, and this shows it afterwards.
- *Without effect*: nothing refuses the attack, and it does not reach what it is for.
- *Openly not found*: the attack goes through, and nothing inside the database shows it. The test fails on the day
  when something does.

{counts}
"""

FOOT = """\
To add an attack, write it in `tests/tampering/by_….py` and generate this page again: `python -m tests.tampering.page`.
"""


def attacks() -> list[Attack]:
    """All attacks, in the page's order."""
    return [attack for section in SECTIONS for attack in section.attacks]


def first_kind(attack: Attack) -> str:
    """The kind that an attack is counted as: refused before found, before anything else."""
    return min(attack.kinds, key=[REFUSED, FOUND, HARMLESS, NOT_FOUND].index)


def _counts() -> str:
    count = Counter(first_kind(attack) for attack in attacks())
    return (
        f"{len(attacks())} attacks: {count[REFUSED]} are refused, {count[FOUND]} are found,"
        f" {count[HARMLESS]} have no effect, {count[NOT_FOUND]} are openly not found."
    )


def _table(section: Section, first: int) -> str:
    rows = [
        f'| <a id="{attack.slug}"></a>{number} | {attack.what} | {"; ".join(o.words for o in attack.outcomes)} |'
        for number, attack in enumerate(section.attacks, first)
    ]
    return "\n".join(
        [f"## {section.heading}", "", section.who, "", "| # | attack | outcome |", "|--:|---|---|", *rows]
    )


def text() -> str:
    """The whole page."""
    parts, first = [HEAD.format(counts=_counts())], 1
    for section in SECTIONS:
        parts.append(_table(section, first) + "\n")
        first += len(section.attacks)
    return "\n".join([*parts, FOOT])


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
