"""The dashboard: valid by Grafana's own classes; every query finds what the exporter gives."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import CollectorRegistry, start_http_server

from alpha_db.watch.catalog import HELP
from alpha_db.watch.notifier import Command, Notifier
from tests.support import PATIENCE, ROOT
from tests.watch.desk import Watched
from tests.watch.promtool import RULES, Scrape, assert_found, needs_promtool

FILE = ROOT / "examples" / "grafana" / "alpha-db.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
PROGRAM = shutil.which("prometheus")
#: What a desk that is well has none of.
EMPTY = {
    "Lockdown engaged",
    "Next proposal expires in",
    "Rows written",
    "Refused attempts",
    "Kept too long",
    "Errors",
}


@pytest.mark.any_server
def test_grafanas_classes_keep_all_of_it() -> None:
    plugins.register_default_plugins()
    again = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(DASHBOARD)))
    assert again == DASHBOARD


@pytest.mark.any_server
@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_each_panel_says_what_it_shows_and_of_which_desk(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert (
        panel["type"] == "table"
        or "unit" in panel["fieldConfig"]["defaults"]
        or "mappings" in panel["fieldConfig"]["defaults"]
    )
    for target in panel["targets"]:
        assert 'instance=~"$desk",schema=~"$schema"' in target["expr"]


@pytest.mark.any_server
def test_colours_are_told_apart_by_everybody() -> None:
    """Blue, vermilion, orange and grey of Okabe and Ito: no red beside green."""
    used = set(re.findall(r"#[0-9A-Fa-f]{6}", FILE.read_text(encoding="utf-8")))
    assert used <= {"#0072B2", "#D55E00", "#E69F00", "#999999"}


@pytest.mark.any_server
def test_dashboard_and_rules_ask_for_figures_that_there_are() -> None:
    rules = (RULES / "alpha-db.rules.yml").read_text(encoding="utf-8")
    asked = set(re.findall(r"\balpha_db_[a-z_]+", rules + json.dumps(DASHBOARD)))
    assert asked <= HELP.keys()


class Prometheus:
    """A Prometheus on loopback that scrapes one exporter five times a second."""

    def __init__(self, folder: Path, target: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        config = {
            "global": {"scrape_interval": "200ms", "evaluation_interval": "200ms"},
            "rule_files": [str(RULES / "alpha-db.rules.yml")],
            "scrape_configs": [
                {"job_name": "alpha-db", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [
                str(PROGRAM),
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def ask(self, path: str, **values: str) -> Any:
        """The data of an answer of its API; None while it does not listen."""
        try:
            with urlopen(
                f"http://127.0.0.1:{self.port}/api/v1/{path}?{urlencode(values)}", timeout=30
            ) as answer:
                said = json.load(answer)
        except OSError:
            assert self.process.poll() is None, Path(self.log.name).read_text(encoding="utf-8")
            return None
        assert said["status"] == "success", said
        return said["data"]

    def wait_for(self, query: str) -> None:
        """Wait until a query has a result."""
        end = time.monotonic() + PATIENCE
        while not (data := self.ask("query", query=query)) or not data["result"]:
            assert time.monotonic() < end, query
            time.sleep(0.02)

    def healths(self) -> set[str]:
        """How its rules are."""
        (group,) = self.ask("rules")["groups"]
        return {rule["health"] for rule in group["rules"]}

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


@pytest.fixture
def prometheus(watched: Watched, tmp_path: Path) -> Iterator[Prometheus]:
    watched.refresher.refresh()
    registry = CollectorRegistry()
    registry.register(watched.exporter)
    exporter, thread = start_http_server(0, "127.0.0.1", registry)
    running = Prometheus(tmp_path, exporter.server_port)
    try:
        running.wait_for("count_over_time(alpha_db_up[1m]) >= 2")
        yield running
    finally:
        running.stop()
        exporter.shutdown()
        exporter.server_close()
        thread.join()


def queries() -> dict[str, str]:
    """Every query of the dashboard, as Grafana sends it, and the panel that it is of."""
    found = {target["expr"]: panel["title"] for panel in PANELS for target in panel["targets"]}
    found |= {each["expr"]: each["name"] for each in DASHBOARD["annotations"]["list"]}
    variables = {"$desk": ".*", "$schema": ".*", "$__rate_interval": "10m"}
    return {
        reduce(lambda q, each: q.replace(*each), variables.items(), q): title for q, title in found.items()
    }


@needs_promtool
def test_every_query_finds_what_was_scraped(watched: Watched, tmp_path: Path) -> None:
    notifier = Notifier(watched.database, Command(["true"]), None, lambda: 0, print)
    scrape = Scrape([*watched.figures(), *notifier.figures()])
    assert_found(tmp_path, {query: title not in EMPTY for query, title in queries().items()}, scrape)


@pytest.mark.long
@pytest.mark.skipif(PROGRAM is None, reason="no prometheus here (Debian: apt-get install prometheus)")
def test_a_prometheus_server_scrapes_and_takes_every_query_and_rule(prometheus: Prometheus) -> None:
    for query in queries():
        prometheus.ask("query", query=query)
    end = time.monotonic() + PATIENCE
    while "unknown" in (healths := prometheus.healths()):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert healths == {"ok"}
