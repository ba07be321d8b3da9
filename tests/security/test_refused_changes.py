"""No row of a protected table changes or goes, on whatever path and by whomever (docs/errors.md)."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.cluster import Server
from tests.fix_database import Connect
from tests.security.refusals import Connection, attempts, denied, head, refused, undone
from tests.support import as_role, fill, one, verdicts

# table: (a column of it, code of UPDATE, code of DELETE and TRUNCATE)
AUDIT = {
    "webhook_deliveries": ("hmac_verified", "AUD-013", "AUD-014"),
    "signals": ("hmac_verified", "AUD-002", "AUD-003"),
    "ai_debates": ("elapsed_ms", "AUD-004", "AUD-005"),
    "order_execution": ("status", "AUD-006", "AUD-007"),
    "order_events": ("event_type", "AUD-006", "AUD-007"),
    "risk_decisions": ("reason", "AUD-013", "AUD-014"),
}
INTERNAL = {
    "lockdown_events": ("reason", "AUD-011", "AUD-011"),
    "maintenance_events": ("reason", "AUD-011", "AUD-011"),
    "chain_columns": ("from_id", "AUD-011", "AUD-011"),
    "guard_states": ("reason", "AUD-011", "AUD-011"),
    "installation": ("role_prefix", "AUD-011", "AUD-011"),
}
PROTECTED = {**AUDIT, **INTERNAL}
REFERENCED = {"webhook_deliveries", "signals", "order_execution"}

UPDATES = {
    "plain": "update {t} set {c} = {c}",
    "one row": "update {t} set {c} = {c} where ctid = (select ctid from {t} limit 1)",
    "from": "update {t} as x set {c} = y.{c} from {t} as y where x.ctid = y.ctid",
    "of the hash": "update {t} set row_hash = repeat('0', 64)",
    "CTE": "with u as (update {t} set {c} = {c} returning 1) select * from u",
    "WHERE CURRENT OF": "declare k cursor for select * from {t} for update; fetch k;"
    " update {t} set {c} = {c} where current of k",
    "MERGE": "merge into {t} as x using {t} as y on x.ctid = y.ctid when matched then update set {c} = y.{c}",
    "updatable view": "create view pg_temp.v as select * from {t}; update pg_temp.v set {c} = {c}",
    "DO block": "do $$ begin execute 'update {t} set {c} = {c}'; end $$",
    "prepared": "prepare p as update {t} set {c} = {c}; execute p",
    "function": "create function pg_temp.f() returns void language sql as 'update {t} set {c} = {c}';"
    " select pg_temp.f()",
}
DELETES = {
    "plain": "delete from {t}",
    "using": "delete from {t} as x using {t} as y where x.ctid = y.ctid",
    "CTE": "with d as (delete from {t} returning *) select * from d",
    "WHERE CURRENT OF": "declare k cursor for select * from {t} for update; fetch k;"
    " delete from {t} where current of k",
    "MERGE": "merge into {t} as x using {t} as y on x.ctid = y.ctid when matched then delete",
    "updatable view": "create view pg_temp.v as select * from {t}; delete from pg_temp.v",
}
TRUNCATES = {
    "cascade": "truncate {t} cascade",
    "only": "truncate only {t} cascade",
    "restart identity": "truncate {t} restart identity cascade",
    "all of them": "truncate {t}, webhook_deliveries, signals, ai_debates, order_execution, order_events,"
    " risk_decisions",
}


def every_path(paths: dict[str, str]) -> list[tuple[str, str]]:
    """(table, path): all paths for the audit log, one for the kit's own tables: the triggers are the same."""
    return [(t, p) for t in PROTECTED for p in paths if t in AUDIT or p in ("plain", "cascade")]


@pytest.fixture(params=["alpha_owner", "superuser", "replica"])
def actor(request: pytest.FixtureRequest, server: Server, filled_database: str) -> Iterator[Connection]:
    """Somebody whom PostgreSQL itself would let change the tables, in a transaction that is rolled back."""
    user = request.getfixturevalue("owner_login") if request.param == "alpha_owner" else None
    with psycopg.connect(server.dsn(filled_database, user), autocommit=True) as connection:
        if request.param == "replica":
            connection.execute("set session_replication_role = replica")
        yield connection


@pytest.fixture
def filled(server: Server, filled_database: str) -> Iterator[Connection]:
    with psycopg.connect(server.dsn(filled_database), autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize(("table", "path"), every_path(UPDATES))
def test_update_is_refused(actor: Connection, filled: Connection, table: str, path: str) -> None:
    column, code, _ = PROTECTED[table]
    before, counted = head(filled), attempts(filled)
    with undone(actor), refused(code, table):
        actor.execute(UPDATES[path].format(t=table, c=column))
    assert head(filled) == before
    kind = (code, table, "UPDATE")
    assert attempts(filled)[kind] == counted.get(kind, 0) + 1, "the rollback must not undo the count"


@pytest.mark.parametrize(("table", "path"), every_path(DELETES))
def test_delete_is_refused(actor: Connection, filled: Connection, table: str, path: str) -> None:
    code = PROTECTED[table][2]
    before, counted = head(filled), attempts(filled)
    with undone(actor), refused(code, table):
        actor.execute(DELETES[path].format(t=table))
    assert head(filled) == before
    kind = (code, table, "DELETE")
    assert attempts(filled)[kind] == counted.get(kind, 0) + 1, "the rollback must not undo the count"


@pytest.mark.parametrize(("table", "path"), every_path(TRUNCATES))
def test_truncate_is_refused(actor: Connection, filled: Connection, table: str, path: str) -> None:
    code = PROTECTED[table][2]
    before, counted = head(filled), attempts(filled)
    with undone(actor), refused(code, table):
        actor.execute(TRUNCATES[path].format(t=table))
    assert head(filled) == before
    kind = (code, table, "TRUNCATE")
    assert attempts(filled)[kind] == counted.get(kind, 0) + 1, "the rollback must not undo the count"


@pytest.mark.parametrize("table", PROTECTED)
def test_truncate_without_cascade(actor: Connection, table: str) -> None:
    with undone(actor):
        if table in REFERENCED:
            with denied("0A000"):  # PostgreSQL itself refuses first
                actor.execute(f"truncate {table}")
        else:
            with refused(PROTECTED[table][2], table):
                actor.execute(f"truncate {table}")


@pytest.mark.parametrize(
    ("key", "given"),
    [("signal_id", "gen_random_uuid(), signal_id"), ("correlation_id", "correlation_id, 'another'")],
)
@pytest.mark.parametrize("as_owner", [True, False])
def test_on_conflict_do_update_is_refused(
    connect: Connect, db: Connection, owner_login: str, as_owner: bool, key: str, given: str
) -> None:
    fill(db)
    with connect(owner_login if as_owner else None) as writer, refused("AUD-002", "signals"):
        writer.execute(
            "insert into signals (correlation_id, signal_id, symbol, side, price, quantity, raw_payload)"
            f" select {given}, symbol, side, price, quantity, raw_payload from signals where id = 1"
            f" on conflict ({key}) do update set symbol = 'X'"
        )
    assert one(db, "select count(*) from signals where symbol = 'X'") == 0
    assert {verdict.verdict for verdict in verdicts(db).values()} <= {"intact", "guard_changed"}


@pytest.mark.parametrize("table", PROTECTED)
def test_detail_names_the_row_and_who(actor: Connection, table: str) -> None:
    with undone(actor), refused(PROTECTED[table][2], table) as caught:
        actor.execute(f"delete from {table} where ctid = (select max(ctid) from {table})")
    detail = caught.value.diag.message_detail
    who = one(actor, "select session_user")
    assert who in detail
    assert table in detail
    if table != "installation":
        assert f"Row {one(actor, f'select max(id) from {table}')} " in detail


@pytest.mark.parametrize("table", PROTECTED)
@pytest.mark.parametrize(
    "statement",
    [
        "update {t} set {c} = {c} where false",
        "delete from {t} where ctid = '(4000000,1)'",
        "merge into {t} as x using (select) as y on false when matched then delete",
        "insert into {t} select * from {t} where false",
    ],
)
def test_no_row_is_no_attempt(actor: Connection, filled: Connection, table: str, statement: str) -> None:
    before = attempts(filled)
    with undone(actor):
        assert actor.execute(statement.format(t=table, c=PROTECTED[table][0])).rowcount == 0
    assert attempts(filled) == before


def test_refused_in_a_savepoint_leaves_the_rest(actor: Connection, filled: Connection) -> None:
    """A caught refusal undoes its own statement only."""
    with undone(actor):
        with refused("AUD-005", "ai_debates"), actor.transaction():
            actor.execute("delete from ai_debates")
        assert one(actor, "select count(*) from ai_debates") == one(filled, "select count(*) from ai_debates")


@pytest.mark.parametrize("table", AUDIT)
@pytest.mark.parametrize(
    "statement",
    [
        "update {t} set {c} = {c}",
        "delete from {t}",
        "truncate {t} cascade",
        "merge into {t} as x using {t} as y on x.id = y.id when matched then delete",
        "merge into {t} as x using {t} as y on x.id = y.id when matched then update set {c} = y.{c}",
        "insert into {t} select * from {t} on conflict (id) do update set {c} = {t}.{c}",
        "select * from {t} for update",
        "lock table {t} in exclusive mode",
        "alter table {t} disable trigger user",
        "alter table {t} add column x int",
        "drop table {t}",
        "create trigger x before insert on {t} execute function suppress_redundant_updates_trigger()",
        "create rule x as on insert to {t} do instead nothing",
        "create index on {t} (id)",
        "create policy x on {t}",
        "comment on table {t} is 'x'",
        "drop trigger _100_reject_change on {t}",
        "lock table lock_{t} in exclusive mode",
        "lock table lock_{t} in access share mode",
        "select setval('writer_{t}', 1)",
        "select nextval('writer_{t}')",
        "select setval('{t}_id_seq', 1)",
        "alter sequence {t}_id_seq restart",
    ],
)
@pytest.mark.parametrize("role", ["app_trading", "app_auditor", "app_risk"])
def test_application_roles_are_stopped_by_postgresql(
    filled: Connection, role: str, table: str, statement: str
) -> None:
    with undone(filled), as_role(filled, role), denied(), filled.transaction():
        filled.execute(statement.format(t=table, c=AUDIT[table][0]))


@pytest.mark.parametrize("role", ["app_trading", "app_auditor", "app_risk"])
@pytest.mark.parametrize(
    "statement",
    [
        "set session_replication_role = replica",
        "set local log_min_messages = panic",
        "create table public.x ()",
        "create function public.x() returns int language sql as 'select 1'",
        "create type public.x as enum ()",
        "create operator public.= (leftarg = int, rightarg = text, function = starts_with)",
        "grant app_trading to app_risk",
        "select * from lock_signals",
        "insert into lockdown_events (event_type, reason, damage) values ('RELEASED', 'x', '[]')",
        "insert into guard_states (reason, facts, state_hash) values ('x', '[]', 'x')",
        "insert into maintenance_events (reason, command_tag, object_identity) values ('x', 'x', 'x')",
        "insert into chain_columns (table_name, from_id, column_names, older_values)"
        " values ('signals', 1, '{}', '{}')",
        "insert into attempt_counters values ('x', 'x', 'x', 'x')",
        "insert into installed_migrations (name) values ('x')",
        "insert into chains values ('x', 999, true, true)",
        "select record_guards('x')",
        "select _record_maintenance('x', 'x', 'x')",
        "select _engage_lockdown('x', '[]')",
        "select _chain_generate('signals')",
        "select chain_extend('signals')",
        "select _refuse('AUD-002', 'x', 'x', 'x', 'x', 'x')",
        "select _begin_migration('x')",
    ],
)  # fmt: skip
def test_application_roles_cannot_reach_the_machinery(filled: Connection, role: str, statement: str) -> None:
    with undone(filled), as_role(filled, role), denied(), filled.transaction():
        filled.execute(statement)
