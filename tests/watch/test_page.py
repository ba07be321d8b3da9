"""docs/monitoring.md says of each metric and each alert what is so."""

from __future__ import annotations

import re

import pytest

from alpha_db.watch.catalog import HELP
from tests.support import ROOT, Connection, query, tamper
from tests.watch.desk import Watched
from tests.watch.promtool import RULES

PAGE = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
TABLE = {
    name: (labels, meaning)
    for name, labels, meaning in re.findall(r"^\| `(alpha_db_\w+)` \| (.*?) \| (.*) \|$", PAGE, re.MULTILINE)
}


@pytest.mark.any_server
def test_each_metric_is_in_the_table_in_the_words_of_the_exporter() -> None:
    assert {name: meaning for name, (_, meaning) in TABLE.items()} == HELP


def test_the_labels_are_those_of_the_exporter(watched: Watched, db: Connection) -> None:
    query(db, "revoke select on retention_policies from app_auditor")  # so that a part cannot be read
    tamper(db, "update signals set price = 1 where id = 2")
    query(db, "select * from verify_chain_integrity('signals')")
    for row in watched.figures():
        assert sorted(row["labels"]) == sorted(filter(None, TABLE[row["name"]][0].split(", "))), row["name"]


@pytest.mark.any_server
def test_each_alert_has_its_section_and_says_where() -> None:
    rules = (RULES / "alpha-db.rules.yml").read_text(encoding="utf-8")
    alerts = re.findall(r"- alert: (\w+)$", rules, re.MULTILINE)
    assert sorted(alerts) == sorted(re.findall(r"^### (AlphaDb\w+)$", PAGE, re.MULTILINE))
    links = re.findall(r"runbook_url: docs/monitoring\.md#(\w+)$", rules, re.MULTILINE)
    assert links == [alert.lower() for alert in alerts]
    for alert in alerts:
        section = PAGE.split(f"\n### {alert}\n")[1].split("\n#")[0]
        assert re.findall(r"^- \*\*(\w+):\*\* ", section, re.MULTILINE) == ["Means", "Look", "Do"], alert


@pytest.mark.any_server
def test_each_alert_is_tested_on_a_server() -> None:
    """test_alerts.py makes each condition; this one looks that none was forgotten."""
    made = (ROOT / "tests" / "watch" / "test_alerts.py").read_text(encoding="utf-8")
    rules = (RULES / "alpha-db.rules.yml").read_text(encoding="utf-8")
    told = "".join(path.read_text(encoding="utf-8") for path in RULES.glob("*.test.yml"))
    for alert in re.findall(r"- alert: (\w+)$", rules, re.MULTILINE):
        assert f'alertname="{alert}"' in told, alert
        assert alert in made, alert
