"""Settings of the database or the role change nothing: neither what is installed nor what it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from alpha_db import connection as connections
from tests.cluster import Server
from tests.migration.desk import Desk, facts
from tests.risk.council import Council, code_of, limits
from tests.security.refusals import install_guard
from tests.support import (
    MIGRATIONS,
    Connection,
    assert_healthy,
    fill,
    one,
    query,
    server_options,
    tamper,
    verdicts,
)

# Values other than the default: of what the parser of SQL or of PL/pgSQL obeys, then of what running it does.
SETTINGS = {
    "standard_conforming_strings": "off",
    "backslash_quote": "off",
    "escape_string_warning": "off",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "check_function_bodies": "off",
    "quote_all_identifiers": "on",
    "plpgsql.extra_errors": "all",
    "plpgsql.extra_warnings": "all",
    "plpgsql.variable_conflict": "use_column",
    "plpgsql.check_asserts": "off",
    "plpgsql.print_strict_params": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "row_security": "off",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "intervalstyle": "iso_8601",
    "timezone": "Asia/Kathmandu",
    "xmloption": "document",
    "default_toast_compression": "pglz",
    "default_statistics_target": "1",
    "plan_cache_mode": "force_generic_plan",
    "from_collapse_limit": "1",
    "join_collapse_limit": "1",
    "work_mem": "64kB",
    "track_functions": "all",
}
NAMES = ("ada", "ben", "cyd")


@pytest.fixture(params=["together", *(pytest.param(s, marks=pytest.mark.long) for s in SETTINGS)])
def settings(request: pytest.FixtureRequest) -> dict[str, str]:
    """All of them, and each alone with --all."""
    return SETTINGS if request.param == "together" else {request.param: SETTINGS[request.param]}


@pytest.fixture
def changed(
    settings: dict[str, str], database: str, admin: Connection, server: Server
) -> Iterator[Connection]:
    """The superuser in a migrated database whose defaults they are."""
    for name, value in settings.items():
        admin.execute(f"alter database {database} set {name} = '{value}'")
    with psycopg.connect(server.dsn(database), autocommit=True) as connection:
        connection.execute("select record_guards('some of them are reported')")
        yield connection


def test_install_the_same(
    settings: dict[str, str], make_database: Callable[..., str], server: Server, template: str
) -> None:
    options = server_options(settings)
    empty = Desk(server, make_database())
    for file in MIGRATIONS:
        server.psql(empty.dbname, "-1", "-f", file, environment={"PGOPTIONS": options})
    with empty.connect() as connection, Desk(server, template).connect() as model:
        assert facts(connection) == facts(model)
        checksums = "select name, checksum from installed_migrations order by name"
        assert query(connection, checksums) == query(model, checksums)
        fill(connection)
        assert_healthy(connection)


def test_the_log_and_its_verification(changed: Connection) -> None:
    fill(changed)
    assert_healthy(changed)
    tamper(changed, "update signals set side = 'SELL' where id = 1")
    assert verdicts(changed)["signals"].verdict == "content_mismatch"
    with pytest.raises(psycopg.Error) as caught:
        fill(changed, first=10)
    assert code_of(caught) == "AUD-009"


def test_a_column_that_is_added_later(changed: Connection) -> None:
    """The chain's trigger function is generated while they hold."""
    fill(changed)
    changed.execute("alter table signals add column more text")
    with changed.transaction():
        changed.execute("set local role alpha_owner")
        changed.execute("select chain_extend('signals')")
    changed.execute("select record_guards('a column')")
    fill(changed, first=10)
    assert_healthy(changed)


def test_what_is_no_decimal_is_no_decimal(changed: Connection) -> None:
    council = Council(changed).bootstrap(*NAMES)
    for number in ("1e1", "1.", ".5", "1x5", "01", "+1", "1_0", "0x10", "1\n"):
        with pytest.raises(psycopg.Error) as caught:
            council.propose("risk_config", limits(leverage=number), "ada")
        assert code_of(caught) == "RSK-001", repr(number)


def test_hidden_characters_are_refused(changed: Connection) -> None:
    council = Council(changed).bootstrap(*NAMES)
    for hidden in ("\u200b", "\u202e", "\ufeff", "\U000e0041", "\u00ad", "\u0085"):
        with pytest.raises(psycopg.Error) as caught:
            council.propose("risk_config", limits(), "ada", reason=f"a{hidden}b")
        assert code_of(caught) == "RSK-001", repr(hidden)


def test_consensus(changed: Connection) -> None:
    council = Council(changed).bootstrap(*NAMES)
    council.enact("risk_config", limits(), "ada", "ben", "cyd")
    council.enact("risk_config", limits("0.04"), "ada", "ben")
    assert {row["is_valid"] for row in query(changed, "select * from verify_config_integrity()")} == {True}
    assert_healthy(changed)


def test_the_superuser_step(changed: Connection, database: str, server: Server) -> None:
    install_guard(server, database)
    with pytest.raises(psycopg.Error) as caught:
        changed.execute("drop table signals cascade")
    assert code_of(caught) == "AUD-011"
    assert_healthy(changed)


def test_a_connection_of_ours_pins_what_it_may(database: str, server: Server, admin: Connection) -> None:
    admin.execute(f"alter database {database} set standard_conforming_strings = off")
    admin.execute(f"alter database {database} set transform_null_equals = on")
    with connections.connect(server.dsn(database)) as conn:
        for _ in ("set in a transaction of its own", "so that a rollback keeps it"):
            assert one(conn, "select current_setting('standard_conforming_strings')") == "on"
            assert one(conn, "select current_setting('transform_null_equals')") == "off"
            assert one(conn, "select current_setting('search_path')") == "public, pg_temp"
            conn.rollback()
        assert not conn.autocommit
