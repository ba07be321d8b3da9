"""The kit's own tables take only rows that its own functions made, whoever may write all data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.fix_database import Connect, LoginRole
from tests.security.refusals import Connection, attempts, refused, undone
from tests.support import as_role, assert_healthy, fill, make_signal, one, query, tamper, verdicts

# Every table of ours that has columns and is no table of the audit log, by the code of its refusal.
TABLES = {
    **dict.fromkeys(
        ("chain_columns", "guard_states", "verification_runs", "lockdown_events", "maintenance_events", "installation",
         "installed_migrations", "attempt_counters", "chains", "log_nodes", "checkpoint_runs", "chain_starts",
         "retention_policies", "table_changes"),
        "AUD-011",
    ),
    **dict.fromkeys(
        ("agents", "agent_revocations", "proposals", "votes", "risk_change_log", "risk_configurations",
         "risk_asset_kill_thresholds", "archived_segments"),
        "RSK-002",
    ),
}  # fmt: skip
REGISTERS = ("installed_migrations", "attempt_counters", "chains", "retention_policies")
FORGED_COLUMNS = (
    "insert into chain_columns (table_name, from_id, column_names, older_values)"
    " values ('signals', 1, '{id,symbol}', '{}')"
)


def set_policy(db: Connection) -> None:
    with db.transaction():
        db.execute("set local alpha.maintenance = 'a test'")
        db.execute("select set_retention_policy('signals', '7 years')")


@pytest.fixture
def owner(db: Connection) -> Iterator[Connection]:
    """The superuser as alpha_owner: what its own functions are."""
    fill(db)
    with as_role(db, "alpha_owner"):
        set_policy(db)
        yield db


def test_no_table_is_left_out(db: Connection) -> None:
    found = query(
        db,
        "select c.relname::text as name from pg_class as c where c.relnamespace = 'public'::regnamespace"
        " and c.relkind = 'r' and c.relname not in (select table_name from chains where not is_internal)"
        " and exists (select from pg_attribute as a where a.attrelid = c.oid and a.attnum > 0)",
    )
    assert {row["name"] for row in found} == set(TABLES)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("who", ["superuser", "writer of all data"])
def test_a_foreign_row_is_refused(
    db: Connection, connect: Connect, login_role: LoginRole, who: str, table: str
) -> None:
    """Before anything else looks at it: a row of nulls is not even missing its values."""
    session = db if who == "superuser" else connect(login_role("pg_write_all_data", "pg_read_all_data"))
    with refused(TABLES[table], table):
        session.execute(f"insert into {table} select (null::{table}).*")
    assert attempts(db)[TABLES[table], table, "INSERT"] == 1


@pytest.mark.parametrize("table", REGISTERS)
def test_a_reason_opens_a_register_to_nobody_but_its_owner(db: Connection, table: str) -> None:
    set_policy(db)
    db.execute("set alpha.maintenance = 'a reason'")
    with refused("AUD-011", table):
        db.execute(f"delete from {table}")


@pytest.mark.parametrize("table", REGISTERS)
@pytest.mark.parametrize("statement", ["update {0} set {1} = {1}", "delete from {0}", "truncate {0}"])
@pytest.mark.parametrize("replica", [False, True])
def test_a_register_is_the_migrations_(owner: Connection, table: str, statement: str, replica: bool) -> None:
    column = {
        "installed_migrations": "name",
        "attempt_counters": "code",
        "chains": "position",
        "retention_policies": "keep",
    }[table]
    if replica:
        owner.execute("reset role")
        owner.execute("set session_replication_role = replica")
        owner.execute("set role alpha_owner")
    with refused("AUD-011", table):
        owner.execute(statement.format(table, column))


def test_one_forged_list_of_columns_makes_no_honest_row_a_mismatch(owner: Connection) -> None:
    with refused("AUD-011", "chain_columns"):
        owner.execute(FORGED_COLUMNS)
    owner.execute("reset role")
    assert_healthy(owner)


@pytest.mark.parametrize(
    ("what", "values"),
    [
        ("what is there already", "'signals', 4, present, '{}'"),
        ("other columns", "'signals', 4, present || 'more'::text, '{\"more\": null}'"),
        ("an older value of an old column", "'signals', 4, present, '{\"price\": 1}'"),
        ("an unknown table", "'nothing', 1, present, '{}'"),
    ],
)
def test_a_list_of_columns_says_what_is_there(owner: Connection, what: str, values: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        owner.execute(
            f"insert into chain_columns (table_name, from_id, column_names, older_values) select {values}"
            " from (select array_agg(column_name) as present from _hashed_columns('signals')) as h"
        )
    assert caught.value.sqlstate == ("42P01" if "unknown" in what else "AUD11"), what


@pytest.mark.parametrize(("from_id", "older"), [(4, "5"), (3, "null"), (5, "null")])
def test_a_new_column_is_recorded_as_it_is(owner: Connection, from_id: int, older: str) -> None:
    """Three rows are there, with nothing in the new column."""
    owner.execute("alter table signals add column note text")
    with refused("AUD-011", "chain_columns"):
        owner.execute(
            "insert into chain_columns (table_name, from_id, column_names, older_values)"
            " select 'signals', %s, array_agg(column_name), %s from _hashed_columns('signals')",
            [from_id, json.dumps({"note": json.loads(older)})],
        )
    owner.execute("select chain_extend('signals')")
    last = query(owner, "select from_id, older_values from chain_columns order by id desc limit 1")[0]
    assert last == {"from_id": 4, "older_values": {"note": None}}


def test_a_superuser_extends_a_chain_as_its_owner(db: Connection) -> None:
    """What it makes anew belongs to alpha_owner, and is no changed guard."""
    make_signal(db, 1)
    db.execute("alter table signals add column note text")
    db.execute("select chain_extend('signals')")
    db.execute("select record_guards('a new column')")
    make_signal(db, 2)
    assert_healthy(db)
    assert (
        one(db, "select typowner::regrole::text from pg_type where typname = 'hashed_signals'")
        == "alpha_owner"
    )


def test_a_state_of_the_guards_cannot_be_made_up(owner: Connection) -> None:
    with refused("AUD-011", "guard_states"):
        owner.execute(
            "insert into guard_states (reason, facts, state_hash) values ('mine', '[]', repeat('0', 64))"
        )
    with refused("AUD-011", "guard_states"):
        owner.execute(
            "insert into guard_states (reason, facts, state_hash)"
            " select 'mine', facts, repeat('0', 64) from guard_states order by id desc limit 1"
        )


def test_a_state_of_the_guards_is_what_is_there(owner: Connection) -> None:
    """Even by INSERT: with the counters, which the writer does not choose either."""
    owner.execute("select setval('attempts_aud002_update_signals', 5)")
    owner.execute("insert into guard_states (reason, counters) values ('mine', '{}')")
    row = query(owner, "select * from guard_states order by id desc limit 1")[0]
    assert row["state_hash"] == one(owner, "select guards_hash()")
    assert row["counters"]["attempts_aud002_update_signals"] == 5
    assert row["recorded_by"] == "postgres"


@pytest.mark.parametrize(
    "heads",
    [
        '{"signals": {"id": 99, "row_hash": "x"}}',
        '{"signals": {"id": 1, "row_hash": "x"}}',
        '{"signals": {"id": 1}}',
        '{"signals": {}}',
    ],
)
def test_a_verification_run_names_rows_that_are_there(owner: Connection, heads: str) -> None:
    with refused("AUD-011", "verification_runs"):
        owner.execute(
            "insert into verification_runs (is_full, heads, rows_checked) values (true, %s, 1)", [heads]
        )


HEADS = (
    "(select jsonb_build_object('signals', jsonb_build_object('id', id, 'row_hash', row_hash))"
    " from signals where id = 1)"
)


@pytest.mark.parametrize("cut", [False, True], ids=["while they are there", "while they are missing"])
@pytest.mark.parametrize("heads", [HEADS, "'{}'"], ids=["lower", "none"])
def test_a_verification_run_forgets_no_rows(db: Connection, cut: bool, heads: str) -> None:
    """Or whoever cuts a tail would record a run of what is left."""
    fill(db)
    db.execute("select record_verification(true, '{\"signals\": 3}', 3)")
    if cut:
        tamper(db, "delete from signals where id = 3")
    with as_role(db, "alpha_owner"), refused("AUD-011", "verification_runs"):
        db.execute(f"insert into verification_runs (is_full, heads, rows_checked) values (true, {heads}, 1)")


def test_replicated_rows_pass(db: Connection) -> None:
    with undone(db):
        db.execute("set local session_replication_role = replica")
        db.execute(
            "insert into maintenance_events (id, reason, command_tag, object_identity, row_hash, created_at,"
            " recorded_by) values (1, 'replicated', 'x', 'y', repeat('0', 64), now(), 'there')"
        )
        assert verdicts(db, engage_lockdown=False)["maintenance_events"].verdict == "content_mismatch"


Way = Callable[[Connection], object]
WAYS: dict[str, Way] = {
    "lockdown_events": lambda c: c.execute("select _engage_lockdown('a test', '[]')"),
    "maintenance_events": lambda c: c.execute("select _record_maintenance('a test', 'x', 'y')"),
    "guard_states": lambda c: c.execute("select record_guards('a test')"),
    "verification_runs": lambda c: c.execute("select record_verification(true, '{}', 0)"),
    "checkpoint_runs": lambda c: c.execute("select record_checkpoint_run()"),
}


@pytest.mark.parametrize("table", WAYS)
@pytest.mark.parametrize("member", [False, True], ids=["superuser", "member of the owner"])
def test_our_own_functions_write_whoever_calls(
    db: Connection, connect: Connect, owner_login: str, table: str, member: bool
) -> None:
    before = one(db, f"select count(*) from {table}")
    WAYS[table](connect(owner_login) if member else db)
    assert one(db, f"select count(*) from {table}") == before + 1


def test_who_migrated_is_not_what_a_writer_says(owner: Connection) -> None:
    rows = query(
        owner,
        "insert into installed_migrations (name, applied_at, applied_by) values ('x', '1999-01-01', 'nobody')"
        " returning applied_by, applied_at > '2020-01-01' as now",
    )
    assert rows == [{"applied_by": "postgres", "now": True}]
