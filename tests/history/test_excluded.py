"""Of an excluded column nothing but a SHA-256 is anywhere: not in the log, not in an answer, not in an error."""

from __future__ import annotations

from hashlib import sha256

import psycopg
import pytest

from tests.cluster import Server
from tests.fix_database import Connect, Prepared
from tests.history.tracked import behind_the_triggers, differences, entries, rows_as_of, track
from tests.support import Connection, one, query

SECRETS = ("hunter2-first", "hunter2-second", "hunter2-third", "hunter2-fourth")
DIGESTS = ["sha256:" + sha256(secret.encode()).hexdigest() for secret in SECRETS]


def fill(connection: Connection) -> None:
    connection.execute(
        "create table logins (id integer primary key, pin text, more text);"
        f"insert into logins values (1, '{SECRETS[0]}', null), (2, null, 'x')"
    )
    track(connection, "logins", "pin")


@pytest.fixture(scope="session")
def origin(prepared: Prepared) -> str:
    """A tracked table with an excluded column."""
    return prepared("history_logins", fill)


def everything(connection: Connection) -> str:
    """All that is stored of the history, and all that is said of it."""
    answers = (
        "select string_agg(t::text, ' ') from table_changes as t",
        "select string_agg(r.row_data, ' ') from chain_rows('table_changes') as r",
        "select string_agg(h::text, ' ') from logins as l cross join table_history('logins', l.id::text) as h",
        "select string_agg(r::text, ' ') from table_as_of('logins', 'infinity') as r",
        "select string_agg(v::text, ' ') from verify_tracked() as v",
        "select string_agg(v::text, ' ') from verify_chain_integrity(engage_lockdown => false) as v",
    )
    return " ".join(str(one(connection, answer)) for answer in answers)


def test_only_its_hash_is_kept(db: Connection) -> None:
    db.execute(
        f"insert into logins values (3, '{SECRETS[1]}'); update logins set pin = '{SECRETS[2]}' where id = 1"
    )
    db.execute("delete from logins where id = 2")
    assert [row["new_row"] and row["new_row"]["pin"] for row in entries(db, "public.logins")] == [
        DIGESTS[1], DIGESTS[2], None
    ]  # fmt: skip
    assert [row["pin"] for row in rows_as_of(db, "logins", "infinity")] == [DIGESTS[2], DIGESTS[1]]
    assert "hunter2" not in everything(db)


def test_its_change_behind_the_triggers_is_found_without_its_text(db: Connection) -> None:
    with behind_the_triggers(db, "logins"):
        db.execute(f"update logins set pin = '{SECRETS[3]}' where id = 1")
    assert differences(db) == [("changed_row", {"id": "1"})]
    said = everything(db)
    assert DIGESTS[3] in said
    assert "hunter2" not in said


def test_it_stays_excluded_when_columns_change_and_when_it_is_tracked_again(db: Connection) -> None:
    db.execute("alter table logins add column later text")
    db.execute(f"insert into logins values (3, '{SECRETS[1]}')")
    track(db, "logins")
    db.execute(f"insert into logins values (4, '{SECRETS[2]}')")
    assert one(
        db, "select new_row -> 'exclude' from table_changes where operation = 'TRACK' order by id desc"
    ) == ["pin"]
    assert "hunter2" not in everything(db)


def test_it_is_in_no_error_and_in_no_log_line_of_ours(
    server: Server, db: Connection, connect: Connect
) -> None:
    """Refusals of the history, and of its chain; the client binds the value, so that the statement does not say it."""
    session = connect(log_min_messages="log", log_error_verbosity="verbose", log_min_error_statement="error")
    with db.transaction():
        db.execute("set local alpha.maintenance = 'a test'")
        db.execute("select chain_limit('table_changes', 65536)")
    mark = len(server.log.read_bytes())
    errors = []
    for statement in (
        "insert into logins values (9, %s, repeat('x', 70000))",
        "set session_replication_role = replica",
        "insert into logins values (9, %s)",
        "reset session_replication_role",
        "alter table logins rename to other",
        "insert into other values (9, %s)",
    ):
        if "%s" not in statement:
            session.execute(statement)
            continue
        with pytest.raises(psycopg.Error, match=r"AUD-01[25]") as refusal:
            session.execute(statement, [SECRETS[3]])
        errors.append(
            str(refusal.value) + repr(vars(refusal.value.diag)) + str(refusal.value.diag.message_detail)
        )
    assert len(errors) == 3
    assert "hunter2" not in " ".join(errors)
    log = server.log.read_bytes()[mark:].decode()
    assert log.count("AUD-015") >= 2
    assert "hunter2" not in log


def test_its_text_is_in_no_row_of_any_table_of_ours(db: Connection) -> None:
    db.execute(f"update logins set pin = '{SECRETS[2]}'")
    for row in query(
        db,
        "select relname::text as name from pg_class where relkind = 'r' and relowner = 'alpha_owner'::regrole",
    ):
        assert not one(db, f"select count(*) from \"{row['name']}\" as t where t::text like '%hunter2%'"), (
            row["name"]
        )
