"""A desk that is well: rows, a verification run, a checkpoint, and the exporter over it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster import Server
from tests.fix_database import LoginRole, Prepared
from tests.support import Connection, fill, query
from tests.watch.desk import Watched


def _make_well(connection: Connection) -> None:
    fill(connection)
    query(connection, "select * from record_checkpoint_run()")
    query(
        connection,
        "select record_verification(true, jsonb_object_agg(table_name, last_id), sum(last_id)::bigint)"
        " from chain_status() where last_id is not null",
    )


@pytest.fixture
def origin(prepared: Prepared) -> str:
    """Name of a desk that is well."""
    return prepared("watch_well", _make_well)


@pytest.fixture
def watched(server: Server, database: str, login_role: LoginRole) -> Iterator[Watched]:
    """What asks it, as an auditor."""
    with Watched(server.dsn(database, login_role("app_auditor"))) as watched:
        yield watched
