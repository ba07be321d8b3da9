"""Citus and TimescaleDB as far as alpha-db looks at them: the tables in which they say what they keep elsewhere."""

from __future__ import annotations

from tests.support import Connection, query


def imitate_citus(connection: Connection) -> None:
    """Make Citus' own tables, as a superuser."""
    query(connection, "set allow_system_table_mods = on")
    query(connection, "create table pg_catalog.pg_dist_partition (logicalrelid regclass)")
    query(connection, "create table pg_catalog.pg_dist_schema (schemaid oid)")
    query(connection, "reset allow_system_table_mods")
    query(connection, "grant select on pg_catalog.pg_dist_partition, pg_catalog.pg_dist_schema to public")


def imitate_timescaledb(connection: Connection) -> None:
    """Make the catalogue of TimescaleDB, as a superuser."""
    query(connection, "create schema _timescaledb_catalog; create schema _timescaledb_internal")
    query(connection, "create table _timescaledb_catalog.hypertable (schema_name name, table_name name)")
    query(connection, "grant usage on schema _timescaledb_catalog to public")
    query(connection, "grant select on _timescaledb_catalog.hypertable to public")
