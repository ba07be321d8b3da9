"""watch --all-schemas: the figures of every desk with its schema, asked over one connection, and events by desk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from alpha_db.queries import Row
from alpha_db.watch.database import SharedDatabase
from alpha_db.watch.desks import Desks
from alpha_db.watch.notifier import Command
from tests.cli.desk import ODD, Desk
from tests.cluster import Server
from tests.fix_database import LoginRole
from tests.support import Connection, query, quote, tamper, verdicts
from tests.watch.promtool import Scrape, assert_firing, needs_promtool

pytest_plugins = ["tests.cli.fix_two_desks"]
pytestmark = pytest.mark.any_server

Watching = Callable[..., Desks]


@pytest.fixture
def watching(said: list[str]) -> Iterator[Watching]:
    """Factory: watching(dsn, command=None, state=None) gives what watches all desks there."""
    made: list[Desks] = []

    def make(dsn: str, command: Command | None = None, state: Path | None = None) -> Desks:
        made.append(Desks(partial(SharedDatabase, dsn, 20), 60, None, command, state, said.append))
        return made[-1]

    yield make
    for desks in made:
        desks.close()


@pytest.fixture
def said() -> list[str]:
    """What was said on stderr."""
    return []


def values(figures: list[Row], name: str) -> dict[str | None, float]:
    """The values of a figure by schema; None is the whole."""
    return {row["labels"].get("schema"): row["value"] for row in figures if row["name"] == name}


def test_once(both: Desk) -> None:
    shown = both.run("watch", "--all-schemas", "--once").out
    families = {family.name: family.samples for family in text_string_to_metric_families(shown)}
    found = {sample.labels.get("schema"): sample.value for sample in families["alpha_db_up"]}
    assert found == {None: 1, ODD: 1, "public": 1}
    assert families["alpha_db_desks"][0].value == 2
    whole = {"alpha_db_up", "alpha_db_build_info", "alpha_db_scrape_duration_seconds", "alpha_db_desks",
             "alpha_db_round_duration_seconds"}  # fmt: skip
    for name in families.keys() - whole:
        assert all("schema" in sample.labels for sample in families[name]), name


def test_a_desk_that_cannot_be_asked_stops_no_other(
    root: Connection, server: Server, login_role: LoginRole, watching: Watching, said: list[str]
) -> None:
    query(root, f"revoke usage on schema {quote(ODD)} from app_auditor")
    desks = watching(server.dsn(root.info.dbname, login_role("app_auditor")))
    desks.refresh()
    found = desks.figures()
    assert values(found, "alpha_db_up") == {None: 1, ODD: 0, "public": 1}
    assert values(found, "alpha_db_guards_changed") == {"public": 0}
    codes = [row["labels"] for row in found if row["name"] == "alpha_db_last_error_info"]
    assert codes == [{"schema": ODD, "code": "42501"}]
    assert len(said) == 1
    assert said[0].startswith(f"{ODD}: the database cannot be asked: ")


def test_a_desk_appears_and_none_disappears(
    root: Connection, server: Server, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    desks = watching(server.dsn(root.info.dbname))
    with monkeypatch.context() as patch:
        patch.setattr(SharedDatabase, "desks", lambda _: [ODD])
        desks.refresh()
    query(root, f"alter schema {quote(ODD)} rename to gone")
    monkeypatch.setattr(SharedDatabase, "desks", lambda _: ["public"])
    desks.refresh()
    found = desks.figures()
    assert values(found, "alpha_db_up") == {None: 1, ODD: 0, "public": 1}
    assert values(found, "alpha_db_desks") == {None: 2}


def test_a_database_that_is_lost(
    root: Connection, admin: Connection, server: Server, watching: Watching, said: list[str]
) -> None:
    """Each desk is shown as one that cannot be asked, and it is said once."""
    desks = watching(server.dsn(root.info.dbname))
    desks.refresh()
    refusing = f"alter database {root.info.dbname} with allow_connections"
    query(admin, f"{refusing} false")
    query(root, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
                " and pid <> pg_backend_pid()")  # fmt: skip
    desks.refresh()
    query(admin, f"{refusing} true")
    found = desks.figures()
    assert values(found, "alpha_db_up") == {None: 0, ODD: 0, "public": 0}
    assert values(found, "alpha_db_rows_total") == {}
    assert len(said) == 1


def test_events_say_of_which_desk_they_are(
    root: Connection, server: Server, watching: Watching, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    command = Command(["sh", "-c", f"cat >> {told}"])
    desks = watching(server.dsn(root.info.dbname), command, tmp_path / "{schema}.json")
    desks.refresh()
    desks.look()
    query(root, f"set search_path to {quote(ODD)}, pg_temp")
    query(root, "select * from verify_checkpoint('guard_states', 1, sha256('another book'))")
    desks.look()
    (event,) = map(json.loads, told.read_text().splitlines())
    assert (event["event"], event["desk"]) == ("damage_found", f"{root.info.dbname}/{ODD}")
    assert len(list(tmp_path.glob("*.json"))) == 2


@pytest.mark.long
@needs_promtool
def test_alerts_of_one_desk_among_several(
    root: Connection, server: Server, watching: Watching, tmp_path: Path
) -> None:
    desks = watching(server.dsn(root.info.dbname))
    tamper(root, "update signals set price = 1 where id = 2")
    assert verdicts(root)["signals"].verdict == "content_mismatch"
    desks.refresh()
    lasting = {"AlphaDbRunsOut", "AlphaDbNeverVerified", "AlphaDbCheckpointOld"}
    assert_firing(tmp_path, {"AlphaDbDamage", "AlphaDbLockdown", *lasting}, Scrape(desks.figures()))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--checkpoints", "runs"], "--checkpoints needs {schema} in it"),
        (["--notify", "true", "--remember", "state"], "--remember needs {schema} in it"),
        (["--schema", "public"], "exclude each other"),
    ],
    ids=lambda given: given if isinstance(given, str) else given[0],
)
def test_what_each_desk_has_of_its_own(both: Desk, arguments: list[str], said: str) -> None:
    assert said in both.run("watch", "--all-schemas", "--listen", "127.0.0.1:0", *arguments, expect=2).err
