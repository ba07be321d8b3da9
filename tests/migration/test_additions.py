"""What event triggers and default privileges add to new objects is taken back, and never recorded as meant."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.migration.desk import MIGRATION, Desk, hint
from tests.support import Connection, assert_healthy, changed_guards, one, query

Root = Callable[[Desk], Connection]

#: As Supabase has it, for the commands that {tags} names.
EVENT_TRIGGER = """
    create function public.hide() returns event_trigger language plpgsql as $$
    declare
      made record;
    begin
      for made in select * from pg_event_trigger_ddl_commands() where object_type = 'table' loop
        if not (select relrowsecurity from pg_class where oid = made.objid) then
          execute format('alter table %s enable row level security', made.object_identity);
        end if;
      end loop;
    end
    $$;
    create event trigger hide on ddl_command_end when tag in ({tags}) execute function public.hide()
"""


@pytest.fixture
def desk(empty: Desk, root: Root, prefix: str) -> Desk:
    """A schema for 001, in roles of its own."""
    query(root(empty), "create schema desk_a")
    return Desk(empty.server, empty.dbname, "desk_a", prefix)


def test_row_level_security_is_switched_off(desk: Desk, root: Root) -> None:
    connection = root(desk)
    query(connection, EVENT_TRIGGER.format(tags="'CREATE TABLE'"))
    said = desk.run(MIGRATION["001"]).stderr
    assert "taken back from new objects" in said
    assert "row-level security (" in said
    assert one(connection, "select count(*) from pg_class where relrowsecurity") == 0
    assert_healthy(connection)


def test_what_comes_back_at_once_is_refused(desk: Desk, root: Root) -> None:
    query(root(desk), EVENT_TRIGGER.format(tags="'CREATE TABLE', 'ALTER TABLE'"))
    said = desk.refused(MIGRATION["001"])
    assert "row-level security was taken back from new objects, and is there again" in said
    assert "Disable" in hint(said)


def test_rights_by_default_are_revoked(desk: Desk, root: Root) -> None:
    connection = root(desk)
    owner, stranger = f"{desk.prefix}alpha_owner", f"{desk.prefix}app_stranger"
    query(connection, f"create role {owner}; create role {stranger}")
    try:
        for kind in ("tables", "sequences", "functions"):
            query(
                connection,
                f"alter default privileges for role {owner} grant all on {kind} to {stranger}, public",
            )
        said = desk.run(MIGRATION["001"]).stderr
        assert f"rights of {stranger} (" in said
        granted = one(
            connection, "select count(*) from guard_facts() where object_kind <> 'default rights' and fact = any (%s)",
            [[f"grant to {stranger}", "grant to PUBLIC"]],
        )  # fmt: skip
        assert granted == 0
        assert changed_guards(connection) == []
    finally:
        query(connection, f"drop owned by {stranger}; drop role {stranger}")


def test_rights_on_columns_are_revoked(desk: Desk, root: Root) -> None:
    connection = root(desk)
    stranger = f"{desk.prefix}app_stranger"
    query(
        connection,
        f"""create role {stranger};
        create function public.open() returns event_trigger language plpgsql as $$
        declare
          made record;
        begin
          for made in select * from pg_event_trigger_ddl_commands() where object_identity = 'desk_a.chains' loop
            grant select (position), update (position) on desk_a.chains to {stranger};
          end loop;
        end
        $$;
        create event trigger open on ddl_command_end when tag in ('CREATE TABLE')
        execute function public.open()""",
    )
    try:
        assert f"rights of {stranger} (1)" in desk.run(MIGRATION["001"]).stderr
        assert not one(
            connection, f"select has_any_column_privilege('{stranger}', 'chains', 'select, update')"
        )
        assert_healthy(connection)
    finally:
        query(connection, f"drop event trigger open; drop owned by {stranger}; drop role {stranger}")


def test_rights_of_our_own_roles_by_default_are_refused(desk: Desk, root: Root) -> None:
    """Nobody could tell them from those that the migrations grant; the guards would record them as meant."""
    connection = root(desk)
    owner, trading = f"{desk.prefix}alpha_owner", f"{desk.prefix}app_trading"
    change = f"alter default privileges for role {owner} {{}} all on functions {{}} {trading}"
    query(connection, f"create role {owner}; create role {trading}; {change.format('grant', 'to')}")
    said = desk.refused(MIGRATION["001"])
    assert f"by default privileges {trading} has rights on all functions that {owner} makes" in said
    assert hint(said) == change.format("revoke", "from")
    query(connection, hint(said))
    desk.run(MIGRATION["001"])
    assert_healthy(connection)


def test_a_later_migration_leaves_what_was_accepted(desk: Desk, root: Root) -> None:
    connection = root(desk)
    desk.migrate(["001"])
    query(connection, "alter table chains enable row level security; select record_guards('it is meant')")
    desk.migrate(["002"])
    assert one(connection, "select relrowsecurity from pg_class where oid = 'chains'::regclass")
    assert changed_guards(connection) == []
