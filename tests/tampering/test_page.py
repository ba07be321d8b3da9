"""docs/tampering.md is what the catalogue says, and docs/threat-model.md says nothing else than it."""

from __future__ import annotations

import re

import pytest

from tests.tampering.outcomes import FOUND, HARMLESS, NOT_FOUND, REFUSED
from tests.tampering.page import PAGE, SECTIONS, attacks, first_kind, text

THREATS = PAGE.with_name("threat-model.md").read_text(encoding="utf-8")
#: A code, a verdict, a function, or the kind and fact of a guard in a link's text.
CLAIM = re.compile(r"\b(?:AUD|RSK)-\d{3}\b|\b\d[0-9A-Z]{4}\b|exit \d|`[^`]+`")
ROWS = [
    line
    for line in THREATS.splitlines()
    if line.startswith("|") and not line.startswith(("| who", "| promise", "|--"))
]
LINKS = re.findall(r"\[([^\]]+)\]\(tampering\.md#([\w-]+)\)", THREATS)


def test_the_page_is_what_the_tests_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == text(), "python -m tests.tampering.page writes it again"


def test_every_attack_has_a_name_of_its_own() -> None:
    slugs = [attack.slug for attack in attacks()]
    assert len(set(slugs)) == len(slugs) >= 130


def test_every_attack_has_an_outcome_and_a_sentence_of_its_own() -> None:
    for section in SECTIONS:
        sentences = [attack.what for attack in section.attacks]
        assert len(set(sentences)) == len(sentences)
    for attack in attacks():
        assert attack.outcomes, attack.slug
        assert attack.what[0].isupper(), attack.what
        assert not attack.what.endswith("."), attack.what
        assert "|" not in attack.what + "".join(outcome.words for outcome in attack.outcomes)


def test_every_kind_of_outcome_occurs() -> None:
    assert {first_kind(attack) for attack in attacks()} == {REFUSED, FOUND, HARMLESS, NOT_FOUND}


def test_what_is_openly_not_found_has_no_other_outcome() -> None:
    assert not [a.slug for a in attacks() if NOT_FOUND in a.kinds and len(a.outcomes) > 1]


@pytest.mark.parametrize("row", ROWS, ids=range(1, len(ROWS) + 1))
def test_every_row_of_the_threat_model_has_its_attacks(row: str) -> None:
    assert "](tampering.md#" in row


@pytest.mark.parametrize(("said", "slug"), LINKS, ids=[slug for _, slug in LINKS])
def test_the_threat_model_says_what_the_attack_shows(said: str, slug: str) -> None:
    """A link's codes, verdicts and functions stand in the outcome of the attack that it leads to."""
    (attack,) = [attack for attack in attacks() if attack.slug == slug]
    shown = "; ".join(outcome.words for outcome in attack.outcomes).replace("`", "")
    for claim in CLAIM.findall(said):
        assert claim.strip("`") in shown, shown


def test_the_threat_model_tells_every_open_attack() -> None:
    told = {slug for _, slug in LINKS}
    unfound = {attack.slug for attack in attacks() if NOT_FOUND in attack.kinds}
    assert unfound <= told
