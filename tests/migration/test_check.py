"""migrate --check: something for CI to fail on; and what status says meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checkpoint.book import Result, run
from tests.migration.desk import LAST, MIGRATION, Desk

pytestmark = pytest.mark.any_server


def check(desk: Desk, *options: object, expect: int) -> Result:
    return run("--dsn", desk.server.dsn(desk.dbname), "migrate", "--check", *options, expect=expect)


def test_all_applied_is_0(installed: Desk) -> None:
    assert "pending" not in check(installed, expect=0).out


def test_nothing_applied_is_1(empty: Desk) -> None:
    assert f"{len(MIGRATION)} migrations are pending" in check(empty, expect=1).err


def test_one_pending_is_1_and_status_says_so(one_pending: Desk) -> None:
    found = check(one_pending, "--json", expect=1)
    assert found.json[-1]["status"] == "pending"
    assert "1 migration is pending" in found.err
    said = run("--dsn", one_pending.server.dsn(one_pending.dbname), "status").out
    assert "Not complete: 1 migration is pending. Run alpha-db migrate." in said
    assert "No problem found" not in said


def test_an_edited_file_is_1(installed: Desk, tmp_path: Path) -> None:
    for file in MIGRATION.values():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    edited = tmp_path / MIGRATION[LAST].name
    edited.write_text(edited.read_text().replace("$migration$;", "-- more\n$migration$;"))
    assert "EDITED" in check(installed, "--sources", tmp_path, expect=1).out


def test_a_newer_database_is_3(installed: Desk, tmp_path: Path) -> None:
    for file in list(MIGRATION.values())[:-1]:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert "upgrade the package" in check(installed, "--sources", tmp_path, expect=3).err


def test_check_excludes_the_other_options(installed: Desk) -> None:
    for other in ("--list", "--dry-run"):
        assert "exclude each other" in check(installed, other, expect=2).err
