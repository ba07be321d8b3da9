"""A database with Citus: the migrations refuse what would be distributed, and say how to stay on one node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.engines import imitate_citus
from tests.migration.desk import LAST, MIGRATION, Desk, hint
from tests.support import Connection, query

Root = Callable[[Desk], Connection]

SETTINGS = ("citus.enable_ddl_propagation", "citus.enable_schema_based_sharding")


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_install_refuses_a_setting_and_says_how_to_switch_it_off(
    setting: str, empty: Desk, root: Root, migrator: str, prefix: str
) -> None:
    connection, desk = root(empty), replace(empty, user=migrator, prefix=prefix)
    imitate_citus(connection)
    query(connection, f"grant usage, create on schema public to {migrator} with grant option")
    query(connection, f"alter role {migrator} set {setting} = on")
    said = desk.refused(MIGRATION["001"])
    assert f"Citus would distribute this installation: {setting} is on" in said
    query(connection, hint(said).removeprefix("Connect again after: "))
    desk.run(MIGRATION["001"])


def test_the_install_refuses_a_schema_that_is_distributed(empty: Desk, root: Root) -> None:
    connection = root(empty)
    imitate_citus(connection)
    query(connection, "insert into pg_dist_schema values ('public'::regnamespace)")
    said = empty.refused(MIGRATION["001"])
    assert "Citus would distribute this installation: schema public is distributed" in said
    assert hint(said) == "Make the schema local: select citus_schema_undistribute('public')"
    query(connection, "update pg_dist_schema set schemaid = 'pg_catalog'::regnamespace")
    empty.run(MIGRATION["001"])


def test_a_later_migration_refuses_as_well(one_pending: Desk, root: Root) -> None:
    desk = one_pending
    connection = root(desk)
    imitate_citus(connection)
    query(connection, f"alter database {desk.dbname} set citus.enable_ddl_propagation = on")
    query(connection, "insert into pg_dist_schema values ('public'::regnamespace)")
    said = desk.refused(MIGRATION[LAST])
    assert "citus.enable_ddl_propagation is on, schema public is distributed" in said
    assert "citus.enable_ddl_propagation = off. Make the schema local: " in hint(said)
    query(connection, f"alter database {desk.dbname} set citus.enable_ddl_propagation = off")
    query(connection, "delete from pg_dist_schema")
    desk.run(MIGRATION[LAST])


def test_without_citus_its_settings_mean_nothing(empty: Desk, root: Root) -> None:
    query(root(empty), f"alter database {empty.dbname} set citus.enable_ddl_propagation = on")
    empty.run(MIGRATION["001"])
