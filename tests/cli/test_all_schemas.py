"""--all-schemas: every desk of a database by one command, the worst exit code, and one summary."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from alpha_db.cli.common import Settings
from alpha_db.errors import ConnectionFailed
from alpha_db.verify.cli.desk_names import encoded, filled, in_directories
from alpha_db.verify.cli.verify_report import worst
from tests.checkpoint.book import make_key
from tests.cli.desk import ODD, Desk
from tests.cluster import Server
from tests.fix_database import LoginRole
from tests.support import Connection, one, query, quote, tamper

pytest_plugins = ["tests.cli.fix_two_desks"]
pytestmark = pytest.mark.any_server

IN_PATHS = "de%27sk%2F%2E%2E%2F%22b%22%20%7Bschema%7D%25"


def codes(found: Any) -> dict[str, int]:
    return {desk["schema"]: desk["exit_code"] for desk in found["schemas"]}


@pytest.mark.parametrize("command", ["status", "guards", "verify-chain"])
def test_a_line_for_each_desk_that_is_fine(both: Desk, command: str) -> None:
    lines = both.run(command, "--all-schemas").out.splitlines()
    assert [line[:7] for line in lines[:-1]] == ["ok     "] * 2
    assert lines[0].startswith(f"ok       {ODD}  ")
    assert lines[1].split()[1] == "public"
    assert lines[-1].startswith("2 of 2 desks ")


def test_damage_in_one(changed: Desk, root: Connection) -> None:
    tamper(root, "update signals set quantity = 7 where id = 2")
    shown = changed.run("verify-chain", "--all-schemas", "--table", "signals", expect=1).out
    (told,) = (line for line in shown.splitlines() if line.startswith("not ok   public"))
    assert told.endswith("  DAMAGE in 1 of 1 chain: signals at id 2.")
    later = changed.run("verify-chain", "--all-schemas", "--since-last", expect=1).out
    assert "  DAMAGE in 1 of 19 chains" in next(line for line in later.splitlines() if "not ok " in line)
    assert shown.endswith("1 of 2 desks intact; not intact: public.\n")
    found = changed.run("status", "--all-schemas", "--json", expect=1).json
    assert codes(found) == {ODD: 0, "public": 1}
    assert [desk["result"]["lockdown"]["is_locked"] for desk in found["schemas"]] == [False, True]
    assert found["summary"] == {
        "desks": 2, "not_recorded": [], "not_ok": ["public"], "not_run": [], "not_there": [], "ok": 1, "lost_at": None,
    }  # fmt: skip


def test_a_login_without_rights_in_one(
    changed: Desk, root: Connection, login_role: LoginRole, server: Server
) -> None:
    """It is told that this desk could not be checked, and the other one is checked."""
    login = login_role("app_auditor")
    query(root, f"revoke usage on schema {quote(ODD)} from app_auditor, public")
    changed.dsn = server.dsn(root.info.dbname, login)
    found = changed.run("guards", "--all-schemas", "--json", expect=3).json
    assert codes(found) == {ODD: 3, "public": 0}
    assert found["schemas"][0]["error"]["code"] == "42501"
    shown = changed.run("guards", "--all-schemas", expect=3).out
    assert f"not run  {ODD}  error [42501]: " in shown
    assert shown.endswith(f"; could not be checked: {ODD}.\n")


def test_parts_that_were_dropped_stop_no_other_desk(changed: Desk, root: Connection) -> None:
    """The register of one desk's migrations: it is named all the same, because other tables of it are there."""
    tamper(root, f"drop table {quote(ODD)}.installed_migrations cascade")
    found = changed.run("verify-chain", "--all-schemas", "--table", "signals", "--json", expect=1).json
    assert codes(found) == {ODD: 1, "public": 0}
    assert found["schemas"][0]["error"]["code"] == "AUD-009"
    shown = changed.run("verify-chain", "--all-schemas", "--table", "signals", expect=1).out
    assert f"not ok   {ODD}  error [AUD-009]: " in shown


def test_prometheus_gets_one_exposition(both: Desk) -> None:
    shown = both.run("verify-chain", "--all-schemas", "--table", "signals", "--format", "prometheus").out
    assert max(Counter(line for line in shown.splitlines() if line.startswith("#")).values()) == 1
    families = {family.name: family.samples for family in text_string_to_metric_families(shown)}
    assert {sample.labels["schema"] for samples in families.values() for sample in samples} == {ODD, "public"}
    assert [sample.value for sample in families["alpha_db_verify_exit_code"]] == [0, 0]
    assert {sample.value for sample in families["alpha_db_chain_valid"]} == {1}


def test_no_installation(server: Server, empty_database: str, tmp_path: Path, capsys: Any) -> None:
    for command in (["status"], ["watch", "--once"]):
        told = Desk(server.dsn(empty_database), tmp_path, capsys).run(*command, "--all-schemas", expect=5)
        assert "no schema of " in told.err


def test_a_connection_that_is_lost(both: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """No desk after it is asked, but each is named."""
    connect, asked = Settings.connect, []

    def lost(settings: Settings) -> Any:
        asked.append(settings.schema)
        if asked[0] is None and len(asked) > 1:
            raise ConnectionFailed("the server is gone")
        return connect(settings)

    monkeypatch.setattr(Settings, "connect", lost)
    told = both.run("guards", "--all-schemas", expect=3)
    assert told.out.count("not run  ") == 2
    assert told.out.endswith(f"The connection was lost at {ODD}: no desk after it was asked.\n")
    assert asked == [None, ODD, None]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--schema", "public", "status"], "--schema (or ALPHA_DB_SCHEMA) exclude each other"),
        (["status", "--disk-free", "2T"], "--all-schemas and --disk-free exclude each other"),
        (["verify-chain", "--from-id", "2"], "--all-schemas and --from-id exclude each other"),
        (["verify-chain", "--to-id", "2"], "--all-schemas and --to-id exclude each other"),
        (["guards", "--checkpoints", "runs"], "--checkpoints needs {schema} in it"),
        (["checkpoint", "create", "--key", "k", "runs"], "DIRECTORY needs {schema} in it"),
        (
            ["checkpoint", "create", "--key", "k", "--stdout", "{schema}"],
            "--all-schemas and --stdout exclude",
        ),
    ],
    ids=lambda given: given if isinstance(given, str) else " ".join(given),
)
def test_what_is_of_one_desk_is_refused(both: Desk, arguments: list[str], said: str) -> None:
    assert said in both.run(*arguments, "--all-schemas", expect=2).err


# --------------------------------------------------------------------------------------------------
# Checkpoints


@pytest.fixture
def signing(changed: Desk) -> Desk:
    """A clone, with a key and a directory for each desk."""
    for schema, name in (("public", "a"), (ODD, "b")):
        make_key(changed.folder, f"desks.example/{name}", f"{encoded(schema)}.key")
        (changed.folder / "runs" / encoded(schema)).mkdir(parents=True)
    return changed


def options(desk: Desk) -> tuple[str, str, str]:
    """--key, the directory, and --trust, each for every desk."""
    return (
        f"{desk.folder}/{{schema}}.key",
        f"{desk.folder}/runs/{{schema}}",
        f"{desk.folder}/{{schema}}.key.vkey",
    )


def test_checkpoints_of_all(signing: Desk) -> None:
    key, runs, trust = options(signing)
    made = signing.run("checkpoint", "create", "--all-schemas", "--key", key, runs)
    assert made.out.endswith("2 of 2 desks signed.\n")
    assert sorted(path.name for path in (signing.folder / "runs").iterdir()) == [IN_PATHS, "public"]
    found = signing.run("checkpoint", "list", "--all-schemas", runs, "--json").json
    assert [desk["result"][0]["signer"] for desk in found["schemas"]] == [
        "desks.example/b",
        "desks.example/a",
    ]
    assert signing.run("checkpoint", "verify", "--all-schemas", runs, "--trust", trust).out.endswith(
        "2 of 2 desks hold.\n"
    )
    options_of = {"guards": ["--policy", policy_of_both(signing)], "verify-chain": ["--trust", trust]}
    for command, more in options_of.items():
        shown = signing.run(command, "--all-schemas", "--checkpoints", runs, *more).out
        assert shown.count("000000001") == 2


def policy_of_both(desk: Desk) -> str:
    """A file that names the logs of both desks."""
    policy = desk.folder / "policy"
    vkeys = [(desk.folder / f"{encoded(schema)}.key.vkey").read_text() for schema in (ODD, "public")]
    policy.write_text("".join(f"log {vkey}" for vkey in vkeys) + "quorum none\n")
    return str(policy)


@pytest.mark.long
def test_a_policy_of_both_logs(signing: Desk) -> None:
    """Each desk's directory is judged by the log of its key; a directory of the other desk is refused."""
    key, runs, _ = options(signing)
    signing.run("checkpoint", "create", "--all-schemas", "--key", key, runs)
    arguments = "guards", "--all-schemas", "--checkpoints", runs, "--policy", policy_of_both(signing)
    folders = signing.folder / "runs"
    (folders / IN_PATHS).rename(folders / "kept")
    (folders / "public").rename(folders / IN_PATHS)
    assert codes(signing.run(*arguments, "--json", expect=1).json) == {ODD: 1, "public": 5}


def test_two_desks_never_sign_as_one_log(signing: Desk, root: Connection) -> None:
    _, runs, _ = options(signing)
    (signing.folder / "runs" / "public" / "x").mkdir()
    make_key(signing.folder, "desks.example/a", f"{IN_PATHS}.same")
    make_key(signing.folder, "desks.example/a", "public.same")
    for key in (f"{signing.folder}/public.key", f"{signing.folder}/{{schema}}.same"):
        refused = signing.run("checkpoint", "create", "--all-schemas", "--key", key, runs, expect=2)
        assert "would sign as the same log, desks.example/a" in refused.err
    assert one(root, "select count(*) from checkpoint_runs") == 0


def test_a_desk_that_cannot_sign_stops_no_other(signing: Desk) -> None:
    key, runs, _ = options(signing)
    (signing.folder / f"{IN_PATHS}.key").unlink()
    found = signing.run("checkpoint", "create", "--all-schemas", "--key", key, runs, "--json", expect=5).json
    assert codes(found) == {ODD: 5, "public": 0}


# --------------------------------------------------------------------------------------------------
# Names in paths, and the worst of several exit codes


@pytest.mark.parametrize(
    ("schema", "name"),
    [("desk-A_1", "desk-A_1"), ("..", "%2E%2E"), ("a/b", "a%2Fb"), ("ü", "%C3%BC"), ("%41", "%2541"), (ODD, IN_PATHS)],
)  # fmt: skip
def test_no_name_leaves_its_directory(schema: str, name: str) -> None:
    assert filled("/runs/{schema}/x", schema) == f"/runs/{name}/x"


def test_desks_are_found_by_their_directories(tmp_path: Path) -> None:
    for name in ("public.d", f"{IN_PATHS}.d", "%41.d", "a.b.d", "other", ".d"):
        (tmp_path / name).mkdir()
    assert in_directories(f"{tmp_path}/{{schema}}.d/runs") == [ODD, "public"]


def test_the_worst_exit_code() -> None:
    order = [4, 1, 3, 5, 0]
    assert [worst(order[n:]) for n in range(5)] == order
