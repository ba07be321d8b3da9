"""What the owner, or a superuser, does to the tables of consensus by force, leaving no guard and no hash changed."""

from __future__ import annotations

from typing import Any

import pytest

from alpha_db.errors import RiskTampered
from alpha_db.security.config_integrity import verify_database
from tests.chain.by_force import rehash
from tests.risk.council import unguarded
from tests.support import Connection, Row, as_role, one, query, tamper


def forge(connection: Connection, table: str, statement: str, parameters: Any = (), from_id: int = 1) -> None:
    """Change a chained table behind its triggers, and give it hashes that fit."""
    triggers = query(
        connection,
        "select quote_ident(tgname) as name, tgenabled as state from pg_trigger"
        " where not tgisinternal and tgrelid = %s::regclass",
        [table],
    )
    with connection.transaction():
        connection.execute(f"alter table {table} disable trigger all")
        query(connection, statement, parameters)
        rehash(connection, table, from_id)
        connection.execute(f"alter table {table} enable trigger all")
        for trigger in triggers:
            state = {"O": "enable", "A": "enable always"}[trigger["state"]]
            connection.execute(f"alter table {table} {state} trigger {trigger['name']}")


def forge_limits(connection: Connection, statement: str, parameters: Any = ()) -> None:
    """Change a table that is no chain behind its triggers."""
    unguarded(connection, statement, parameters)


def forge_release(connection: Connection, proposal_id: Any = None, damage: str = "[]") -> None:
    """Insert a RELEASED event for the alarm as it stands, with the validating trigger off for a moment."""
    with connection.transaction():
        connection.execute("alter table lockdown_events disable trigger _500_validate")
        with as_role(connection, "alpha_owner"):
            query(
                connection,
                "insert into lockdown_events (event_type, reason, damage, proposal_id, alarm)"
                " select 'RELEASED', 'x', %s::jsonb, %s, last_value from lockdown_alarm",
                [damage, proposal_id],
            )
        connection.execute("alter table lockdown_events enable trigger _500_validate")


def problems(connection: Connection) -> list[Row]:
    """What consensus does not derive."""
    return query(connection, "select * from _consensus_problems()")


def assert_derived(connection: Connection) -> None:
    """In SQL and in Python, everything follows from the signatures."""
    assert problems(connection) == []
    assert all(row["is_valid"] for row in query(connection, "select * from verify_config_integrity()"))
    verify_database(connection)


def assert_found(connection: Connection, table: str, row_id: int | None = None) -> None:
    """SQL names the row, and both ways of verifying say no."""
    found = problems(connection)
    assert (table, row_id) in [(row["table_name"], row["id"]) for row in found], found
    assert not all(row["is_valid"] for row in query(connection, "select * from verify_config_integrity()"))


def assert_python_refuses(connection: Connection) -> None:
    """Without pinned keys, and without anything of the database's own functions."""
    with pytest.raises(RiskTampered):
        verify_database(connection)


def engage(connection: Connection, row_id: int = 2) -> None:
    """Damage a signal and verify."""
    tamper(connection, "update signals set price = price + 1 where id = %s", [row_id])
    query(connection, "select * from verify_chain_integrity('signals')")
    assert one(connection, "select is_locked from lockdown_status()") is True
