"""Status never says that all is well while migrations are pending."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alpha_db.cli.main import main
from tests.cluster import Server
from tests.support import MIGRATIONS, migrate_with_psql


@pytest.mark.any_server
def test_pending_is_no_all_clear(
    server: Server, make_database: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    name = make_database()
    migrate_with_psql(server, name, files=MIGRATIONS[:-1])
    assert main(["--dsn", server.dsn(name), "status"]) == 0
    shown = capsys.readouterr().out
    assert "pending: 23_risk_config" in shown
    assert shown.endswith("Not complete: 1 migration is pending. Run alpha-db migrate.\n")
