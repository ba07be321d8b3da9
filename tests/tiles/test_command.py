"""alpha-db tiles: what it writes, with which rights, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alpha_db.cli.main import main
from alpha_db.evidence.checkpoint.store import Store
from tests.cli.desk import Desk
from tests.cluster import Server, client_environment
from tests.fix_database import LoginRole
from tests.support import (
    PATIENCE,
    ROOT,
    Connection,
    as_role,
    fill,
    make_signal,
    one,
    query,
    tamper,
    wait_until,
)
from tests.tiles.log import files_in
from tests.tiles.reader import Reader, files_of

pytest_plugins = ["tests.cli.fix_desk"]


def tiles(desk: Desk, folder: Path, *options: str, expect: int = 0) -> dict[str, dict[str, Any]]:
    """What the command says of each table."""
    done = desk.run("tiles", str(folder), "--json", *options, expect=expect)
    return {log["table"]: log for log in done.json["logs"]}


def hashes(db: Connection, table: str) -> list[bytes]:
    return [
        bytes.fromhex(row["row_hash"]) for row in query(db, f'select row_hash from "{table}" order by id')
    ]


def test_every_chained_table_is_written(desk: Desk, db: Connection, tmp_path: Path) -> None:
    fill(db, signals=5)
    folder = tmp_path / "www"
    found = tiles(desk, folder)
    tables = [row["table_name"] for row in query(db, "select table_name from chains order by position")]
    assert list(found) == tables
    installation = one(db, "select installation_id::text from installation")
    for table in tables:
        reader = Reader(folder / table)
        size = one(db, f'select count(*) from "{table}"')
        root = bytes(one(db, "select log_root(%s, %s)", [table, size]))
        assert reader.tree == (f"alpha-db/{installation}/{table}", size, root)
        assert reader.entries(size) == hashes(db, table)
        reader.check()
        assert found[table] == {
            "table": table,
            "origin": f"alpha-db/{installation}/{table}",
            "verdict": "holds",
            "previous": 0,
            "size": size,
            "root": root.hex(),
            "files": len(files_of(size)),
            "problem": None,
        }
    # nothing but hashes, and the names of tables
    assert set(files_in(folder)) == {".lock"} | {
        f"{table}/{name}" for table in tables for name in files_of(Reader(folder / table).size) | {"tree"}
    }


def test_it_goes_on(desk: Desk, db: Connection, tmp_path: Path) -> None:
    fill(db, signals=3)
    folder = tmp_path / "www"
    tiles(desk, folder)
    kept = files_in(folder)
    assert {log["files"] for log in tiles(desk, folder).values()} == {0}
    assert files_in(folder) == kept
    make_signal(db, 10)
    found = tiles(desk, folder)
    assert (found["signals"]["previous"], found["signals"]["size"]) == (3, 4)
    assert found["ai_debates"]["files"] == 0
    Reader(folder / "signals").check()
    done = desk.run("tiles", str(folder))
    assert re.search(r"^ok +signals +4 rows, 0 new, 0 files written$", done.out, re.MULTILINE)


def test_one_table(desk: Desk, db: Connection, tmp_path: Path) -> None:
    fill(db)
    folder = tmp_path / "www"
    assert list(tiles(desk, folder, "--table", "signals")) == ["signals"]
    assert [path.name for path in sorted(folder.iterdir())] == [".lock", "signals"]
    done = desk.run("tiles", str(folder), "--table", "installation", expect=5)
    assert "installation is not a chained table; these are: webhook_deliveries, signals, " in done.err


def test_an_auditor_may(db: Connection, server: Server, login_role: LoginRole, tmp_path: Path) -> None:
    fill(db)
    auditor, trader = login_role("app_auditor"), login_role("app_trading")
    dsn = server.dsn(db.info.dbname)
    assert main(["--dsn", server.dsn(db.info.dbname, auditor), "tiles", str(tmp_path / "www")]) == 0
    Reader(tmp_path / "www" / "signals").check()
    assert main(["--dsn", server.dsn(db.info.dbname, auditor), "tiles", str(tmp_path / "www"), "--full"]) == 0
    assert main(["--dsn", server.dsn(db.info.dbname, trader), "tiles", str(tmp_path / "no")]) == 3
    assert main(["--dsn", dsn, "tiles", str(tmp_path / "www")]) == 0


def test_a_session_that_may_only_read(desk: Desk, db: Connection, tmp_path: Path) -> None:
    fill(db)
    db.execute(f"alter database {db.info.dbname} set default_transaction_read_only = on")
    tiles(desk, tmp_path / "www")
    Reader(tmp_path / "www" / "signals").check()
    desk.dsn += " options=-cdefault_transaction_read_only=on"
    tiles(desk, tmp_path / "again")
    Reader(tmp_path / "again" / "signals").check()


def test_names_that_are_quoted_and_names_that_are_unfit(desk: Desk, db: Connection, tmp_path: Path) -> None:
    names = ["Late, one", 'a "b" c', "ünï", "..", ".hidden", "a/b"]
    for name in names:
        quoted = '"' + name.replace('"', '""') + '"'
        with as_role(db, "alpha_owner"):
            query(
                db,
                f"create table {quoted} (id bigserial primary key, what text, row_hash char(64) not null,"
                " created_at timestamptz not null)",
            )
            query(db, "select _chain_attach(%s), _protect_table(%s, 'AUD-011', 'AUD-011')", [name, name])
        query(db, f"insert into {quoted} (what) values ('x')")
    folder = tmp_path / "www"
    found = tiles(desk, folder, expect=3)
    for name in names[:3]:
        assert found[name]["verdict"] == "holds"
        Reader(folder / name).check()
    for name in names[3:]:
        assert (found[name]["verdict"], found[name]["files"]) == ("not_run", None)
        assert found[name]["problem"] == "the table's name cannot be that of a directory"
    assert not (tmp_path / "tree").exists()
    assert found["signals"]["verdict"] == "holds"
    assert not [path for path in folder.rglob("*") if path.name in ("b", ".hidden")]


def test_tampering_is_published_for_no_table_that_it_concerns(
    desk: Desk, db: Connection, tmp_path: Path
) -> None:
    fill(db, signals=5)
    folder = tmp_path / "www"
    tiles(desk, folder)
    kept = files_in(folder / "signals")
    make_signal(db, 20)
    tamper(db, "update signals set row_hash = repeat('0', 64) where id = 2")
    found = tiles(desk, folder, expect=1)
    assert found["signals"]["verdict"] == "refused"
    assert "AUD-009: checkpoint_mismatch: rows 1 to 5 of " in found["signals"]["problem"]
    assert {log["verdict"] for table, log in found.items() if table != "signals"} == {"holds"}
    assert files_in(folder / "signals") == kept


CUTS = {
    "the end": ("delete from signals where id > 3", "AUD-009: tail_missing: .* 5 rows, and 3 are here"),
    "all": ("delete from signals", "AUD-009: tail_missing: .* 5 rows, and 0 are here"),
    "the middle": ("delete from signals where id = 2", "AUD-009"),
}


#: With and without --full, and each cut, once; all pairs with --all.
KEPT = {("the end", ""), ("the middle", "full")}


@pytest.mark.parametrize(
    ("full", "what"),
    [
        pytest.param(
            (full,) if full else (),
            what,
            id=f"{full.lstrip('-')}-{what}",
            marks=() if (what, full.lstrip("-")) in KEPT else pytest.mark.long,
        )
        for full in ("", "--full")
        for what in CUTS
    ],
)
def test_a_log_that_lost_rows(
    desk: Desk, db: Connection, tmp_path: Path, what: str, full: tuple[str, ...]
) -> None:
    fill(db, signals=5)
    folder = tmp_path / "www"
    tiles(desk, folder)
    kept = files_in(folder / "signals")
    tamper(db, CUTS[what][0])
    found = tiles(desk, folder, *full, expect=1)
    assert re.search(CUTS[what][1], found["signals"]["problem"])
    assert files_in(folder / "signals") == kept
    assert found["order_events"]["verdict"] == "holds"


def test_a_table_that_is_gone(desk: Desk, db: Connection, tmp_path: Path) -> None:
    fill(db)
    folder = tmp_path / "www"
    tiles(desk, folder)
    kept = files_in(folder)
    query(db, "drop table votes cascade")
    found = tiles(desk, folder, expect=1)
    assert {log["verdict"] for table, log in found.items() if table != "votes"} == {"holds"}
    assert found["votes"]["verdict"] == "refused"
    assert "AUD-009" in found["votes"]["problem"]
    assert files_in(folder) == kept


def test_a_row_is_missing_before_there_are_tiles(desk: Desk, db: Connection, tmp_path: Path) -> None:
    fill(db, signals=5)
    tamper(db, "delete from signals where id = 2")
    found = tiles(desk, tmp_path / "www", expect=1)
    assert "row 2 of signals is missing" in found["signals"]["problem"]
    assert Reader(tmp_path / "www" / "signals").size == 0


def test_a_hash_that_is_none(desk: Desk, db: Connection, tmp_path: Path) -> None:
    fill(db, signals=5)
    tamper(db, "update signals set row_hash = repeat('zz', 32) where id = 2")
    found = tiles(desk, tmp_path / "www", expect=1)
    assert "row 2 of signals has no hash" in found["signals"]["problem"]


def test_only_a_full_run_sees_what_stored_nodes_hide(desk: Desk, db: Connection, tmp_path: Path) -> None:
    """A later run compares with stored nodes, so that it need not read rows; the rows decide in a full one."""
    query(
        db,
        "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
        " select 's' || n, 'BTCUSD', 'BUY', 1, 1, '{}' from generate_series(1, 300) as n",
    )
    query(db, "select * from seal_log()")
    folder = tmp_path / "www"
    tiles(desk, folder)
    tamper(db, "update signals set row_hash = repeat('0', 64) where id = 2")
    assert tiles(desk, folder)["signals"]["verdict"] == "holds"
    assert "rows 1 to 300 of" in tiles(desk, folder, "--full", expect=1)["signals"]["problem"]


def test_wrong_places(desk: Desk, db: Connection, tmp_path: Path) -> None:
    fill(db)
    file = tmp_path / "file"
    file.write_text("x")
    assert "is not a directory" in desk.run("tiles", str(file), expect=2).err
    assert "there is no directory" in desk.run("tiles", str(tmp_path / "no" / "where"), expect=2).err
    folder = tmp_path / "www"
    tiles(desk, folder)
    assert "has a log in it" in desk.run("tiles", str(folder / "signals"), expect=2).err
    (folder / "signals" / "tree").write_text("mine")
    found = tiles(desk, folder, expect=3)
    assert "tree: it is not an origin, a size and a root" in found["signals"]["problem"]
    (folder / "signals" / "tree").unlink()
    assert "it has no file tree" in tiles(desk, folder, expect=1)["signals"]["problem"]
    assert not (tmp_path / "no").exists()


def test_a_place_that_takes_nothing(desk: Desk, db: Connection, tmp_path: Path) -> None:
    fill(db)
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "signals").write_text("in the way")
    found = tiles(desk, folder, expect=3)
    assert found["signals"]["verdict"] == "not_run"
    assert "cannot write" in found["signals"]["problem"]
    assert found["ai_debates"]["verdict"] == "holds"


def test_the_tiles_of_another_installation(
    desk: Desk, db: Connection, server: Server, make_database: Any, template: str, tmp_path: Path
) -> None:
    other = make_database(template)
    folder = tmp_path / "www"
    assert main(["--dsn", server.dsn(other), "tiles", str(folder)]) == 0
    kept = files_in(folder)
    query(
        db, "alter table installation disable trigger all"
    )  # the clones of one database are one installation
    query(db, "update installation set installation_id = gen_random_uuid()")
    found = tiles(desk, folder, expect=1)
    assert {log["verdict"] for log in found.values()} == {"refused"}
    assert "it has the tiles of alpha-db/" in found["signals"]["problem"]
    assert files_in(folder) == kept


def test_two_at_once_wait_for_each_other(desk: Desk, db: Connection, server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "www"
    folder.mkdir()
    fill(db)
    with Store(folder).locked():
        done = desk.run("tiles", str(folder), "--lock-timeout", "0.05", expect=3)
        assert "another process has held" in done.err
        assert [path.name for path in folder.iterdir()] == [".lock"]
    command = [sys.executable, "-m", "alpha_db", "tiles", str(folder), "--json"]
    environment = client_environment(
        {"ALPHA_DB_DSN": server.dsn(db.info.dbname), "PYTHONPATH": str(ROOT / "python")}
    )
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    answers = [json.loads(process.communicate(timeout=PATIENCE)[0])["result"]["logs"] for process in running]
    assert sorted(log["previous"] for logs in answers for log in logs if log["table"] == "signals") == [0, 3]
    Reader(folder / "signals").check()


def test_what_is_published_cannot_be_taken_back_by_a_crash(
    desk: Desk, db: Connection, admin: Connection, tmp_path: Path
) -> None:
    """Rows that were committed without waiting are flushed, though nothing else does so here."""
    query(admin, "alter system set wal_writer_delay = '10s'")
    query(admin, "select pg_reload_conf()")
    try:
        query(db, "set synchronous_commit = off")
        behind = "select pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn()"
        # the WAL writer may still be in a round of before
        assert any(make_signal(db, n) and one(db, behind) for n in range(1, 50))
        position = one(db, "select pg_current_wal_insert_lsn()")
        tiles(desk, tmp_path / "www")
        assert one(db, "select pg_current_wal_flush_lsn() >= %s::pg_lsn", [position])
    finally:
        query(admin, "alter system reset wal_writer_delay")
        query(admin, "select pg_reload_conf()")


def test_a_reader_that_interrupts_it(desk: Desk, db: Connection, server: Server, tmp_path: Path) -> None:
    """Ctrl-C while it waits for a lock in the database leaves no tile, and the next run goes on."""
    fill(db)
    folder = tmp_path / "www"
    environment = client_environment(
        {"ALPHA_DB_DSN": server.dsn(db.info.dbname), "PYTHONPATH": str(ROOT / "python")}
    )
    with db.transaction():
        db.execute("lock table signals in access exclusive mode")
        child = subprocess.Popen(
            [sys.executable, "-m", "alpha_db", "tiles", str(folder)], env=environment, stderr=subprocess.PIPE
        )
        wait_until(
            db, "select exists (select from pg_locks where relation = 'signals'::regclass and not granted)"
        )
        os.kill(child.pid, signal.SIGINT)
        child.communicate(timeout=PATIENCE)
    assert child.returncode != 0
    tiles(desk, folder)
    Reader(folder / "signals").check()


@pytest.fixture
def witness(desk: Desk, tmp_path: Path) -> tuple[str, ...]:
    """The options that name a directory of checkpoints, and whose are believed."""
    desk.run("checkpoint", "keygen", "--name", "desk.example/log", "-o", str(tmp_path / "key"))
    (tmp_path / "witness").mkdir()
    return "--checkpoints", str(tmp_path / "witness"), "--trust", str(tmp_path / "key.vkey")


def sign(desk: Desk, tmp_path: Path) -> None:
    desk.run("checkpoint", "create", "--key", str(tmp_path / "key"), str(tmp_path / "witness"))


def test_the_latest_checkpoint_is_published(
    desk: Desk, db: Connection, tmp_path: Path, witness: tuple[str, ...]
) -> None:
    fill(db)
    folder = tmp_path / "www"
    assert "there is no checkpoint" in desk.run("tiles", str(folder), *witness, expect=5).err
    signed: list[tuple[int, bytes]] = []
    for number in range(1, 4):
        sign(desk, tmp_path)
        signed.append((number, bytes(one(db, "select log_root('checkpoint_runs', %s)", [number]))))
        tiles(desk, folder, *witness)
        note = (folder / "checkpoint_runs" / "checkpoint").read_text(encoding="utf-8")
        assert note == (tmp_path / "witness" / f"00000000{number}" / "checkpoint.note").read_text(
            encoding="utf-8"
        )
        assert [path.parent.name for path in folder.glob("*/checkpoint")] == ["checkpoint_runs"]
        make_signal(db, 20 + number)
    reader = Reader(folder / "checkpoint_runs")
    assert [(size, reader.root(size)) for size, _ in signed] == signed  # every root that was ever signed
    # without the option the tiles go on, and the checkpoint stays
    query(db, "select id from record_checkpoint_run()")
    tiles(desk, folder)
    assert Reader(folder / "checkpoint_runs").size == 4
    assert (folder / "checkpoint_runs" / "checkpoint").read_text(encoding="utf-8") == note
    # a directory that lost a run
    for file in (tmp_path / "witness" / "000000003").iterdir():
        file.unlink()
    (tmp_path / "witness" / "000000003").rmdir()
    found = tiles(desk, folder, *witness, expect=1)
    assert (
        "checkpoint is of 3 rows, and the latest checkpoint that was named is of 2"
        in found["checkpoint_runs"]["problem"]
    )
    assert found["signals"]["verdict"] == "holds"


def test_a_log_that_contradicts_the_checkpoint(
    desk: Desk, db: Connection, tmp_path: Path, witness: tuple[str, ...]
) -> None:
    fill(db, signals=5)
    sign(desk, tmp_path)
    tamper(db, "update signals set row_hash = repeat('0', 64) where id = 2")
    tamper(db, "delete from ai_debates where id = (select max(id) from ai_debates)")
    found = tiles(desk, tmp_path / "www", *witness, expect=1)
    assert "rows 1 to 5 of" in found["signals"]["problem"]
    assert "5 rows were signed, and 4 are here" in found["ai_debates"]["problem"]
    assert not (tmp_path / "www" / "signals").exists()
    assert found["checkpoint_runs"]["verdict"] == "holds"


def test_whose_checkpoints(desk: Desk, db: Connection, tmp_path: Path, witness: tuple[str, ...]) -> None:
    fill(db)
    sign(desk, tmp_path)
    folder = str(tmp_path / "www")
    assert "--checkpoints needs --trust" in desk.run("tiles", folder, *witness[:2], expect=2).err
    desk.run("checkpoint", "keygen", "--name", "desk.example/log", "-o", str(tmp_path / "other"))
    desk.run("tiles", folder, *witness[:2], "--trust", str(tmp_path / "other.vkey"), expect=1)
    assert not (tmp_path / "www").exists() or not list((tmp_path / "www").iterdir())
