"""What migrate runs is what the checksum covers, and migrations are ordered by number."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg
import pytest

from alpha_db.cli.main import main
from alpha_db.errors import MigrationEdited
from alpha_db.migrate import migrate, read_files
from alpha_db.migrate.sources import uncovered
from tests.migration.desk import MIGRATION, Desk
from tests.support import ROOT, one

BODY = "do $migration$\nbegin\nend\n$migration$"
WELL = f"-- 099_x: says what it is\n-- depends: 006_checkpoints\n\n{BODY};\n"
OUTSIDE = "what stands outside the block is not covered by the checksum"
FILES = {
    "as ours": (WELL, None),
    "comments behind": (WELL + "\n-- end\n/* a /* nested */ one */\n", None),
    "no semicolon": (BODY, None),
    "behind": (WELL + "drop table signals;\n", f"line 8: {OUTSIDE}"),
    "behind, on the line": (WELL.replace("$migration$;", "$migration$; select 1"), f"line 7: {OUTSIDE}"),
    "before": ("select 1;\n" + WELL, f"line 1: {OUTSIDE}"),
    "a command of psql": (WELL + "\\i other.sql\n", f"line 8: {OUTSIDE}"),
    "a comment that does not end": (WELL + "/* and so on", f"line 8: {OUTSIDE}"),
    "within a comment": (f"-- {BODY}", f"line 1: {OUTSIDE}"),
    "two blocks": (WELL + WELL, "is not one block"),
    "another block between": (WELL + "select 1;" + WELL, "is not one block"),
    "a byte order mark": ("\ufeff" + WELL, "byte order mark"),
    "line ends of Windows": (WELL.replace("\n", "\r\n"), "CRLF"),
}


@pytest.mark.parametrize("how", FILES)
@pytest.mark.parametrize("kind", ["migration", "rollback"])
def test_only_comments_stand_outside_the_block(how: str, kind: str) -> None:
    text, problem = FILES[how]
    name = "099_x.sql" if kind == "migration" else "099_x.rollback.sql"
    found = uncovered(name, text.replace("$migration$", f"${kind}$"))
    assert found is None if problem is None else found is not None and name in found and problem in found


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the migrations, to be edited."""
    return Path(shutil.copytree(ROOT / "migrations", tmp_path / "migrations"))


def test_every_file_of_ours_is_covered() -> None:
    assert {file.name: file.problem for file in read_files(ROOT / "migrations")} == dict.fromkeys(
        file.stem for file in MIGRATION.values()
    )


@pytest.mark.parametrize("name", ["003_attach_triggers.sql", "003_attach_triggers.rollback.sql"])
def test_an_edited_file_is_neither_run_nor_passed_over(
    installed: Desk, empty: Desk, copy: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with (copy / name).open("a", encoding="utf-8") as file:
        file.write("create table added ();\n")
    for desk in (installed, empty):
        dsn = desk.server.dsn(desk.dbname)
        with pytest.raises(MigrationEdited, match=f"{name}, line [0-9]+: {OUTSIDE}"):
            migrate(dsn, directory=copy)
        assert main(["--dsn", dsn, "migrate", "--list", "--sources", str(copy)]) == 1
        assert f"EDITED: {name}" in capsys.readouterr().out
        with psycopg.connect(dsn) as conn:
            assert one(conn, "select to_regclass('added')") is None


def test_what_was_read_is_run(
    empty: Desk, first_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that changes after its checksum was computed: the first, and a later one."""
    from alpha_db.migrate import run

    copy = Path(shutil.copytree(first_files, tmp_path / "copy"))

    def read_and_edit(directory: Path) -> object:
        files = read_files(directory)
        for name in ("001_core_functions.sql", "002_audit_tables.sql"):
            with (copy / name).open("a", encoding="utf-8") as file:
                file.write("create table added ();\n")
        return files

    monkeypatch.setattr(run, "read_files", read_and_edit)
    migrate(empty.server.dsn(empty.dbname), directory=copy)
    with psycopg.connect(empty.server.dsn(empty.dbname)) as conn:
        assert one(conn, "select to_regclass('added')") is None
        assert one(conn, "select count(*) from installed_migrations") == 2


def test_100_comes_after_24(installed: Desk, copy: Path) -> None:
    pinned = (copy / "24_reporting.sql").read_text(encoding="utf-8").split("if not _begin_migration")[0]
    later = pinned.replace("24_reporting:", "100_later:").replace("23_risk_config", "24_reporting")
    (copy / "100_later.sql").write_text(
        later + "if not _begin_migration('100_later') then return; end if;\n"
        "perform _finish_migration('100_later');\nend\n$migration$;\n",
        encoding="utf-8",
    )
    assert [file.name for file in read_files(copy)][-2:] == ["24_reporting", "100_later"]
    dsn = installed.server.dsn(installed.dbname)
    assert [event.name for event in migrate(dsn, directory=copy) if event.kind == "applied"] == ["100_later"]
    said = installed.refused(copy / "24_reporting.rollback.sql")
    assert "100_later must be rolled back before 24_reporting" in said


def test_a_file_without_dependency_is_ordered_by_number(copy: Path) -> None:
    for name in ("100_x", "99_y", "25_z"):
        (copy / f"{name}.sql").write_text("select 1;\n", encoding="utf-8")
    assert [file.name for file in read_files(copy)][-4:] == ["24_reporting", "25_z", "99_y", "100_x"]
