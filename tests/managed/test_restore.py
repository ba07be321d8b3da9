"""Restoring without a superuser and without session_replication_role, as docs/managed.md says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.checkpoint.book import make_key, public, run
from tests.fix_database import fresh_name
from tests.managed.provider import ADMIN, Provider, provided
from tests.support import Connection, assert_healthy, fill, one, query

ROLES = (
    "create role alpha_owner; create role app_trading; create role app_auditor; create role app_risk",
    f"grant alpha_owner to {ADMIN}",
)
#: Takes back what an event trigger did to each restored table.
ROWS_ARE_SEEN = """
    do $$
    declare
      hidden regclass;
    begin
      for hidden in select oid from pg_class where relowner = 'alpha_owner'::regrole and relrowsecurity loop
        execute format('alter table %s disable row level security', hidden);
      end loop;
    end
    $$
"""


@pytest.fixture
def written(book: Provider, tmp_path: Path) -> tuple[Path, Path]:
    """The book has rows and a checkpoint; gives the folder of checkpoints and the key."""
    key, folder = make_key(tmp_path), tmp_path / "checkpoints"
    folder.mkdir()
    with book.connect("trader") as trader:
        fill(trader)
    run("--dsn", book.dsn("auditor"), "checkpoint", "create", "--key", key, folder)
    return folder, key


def prepare(target: Provider) -> None:
    """What the schema must allow before anything of ours is made in it."""
    target.make_schema()
    with target.connect() as admin:
        admin.execute(f"grant usage, create on schema {target.schema} to alpha_owner")
        admin.execute(f"grant usage on schema {target.schema} to app_trading, app_auditor, app_risk")


@pytest.fixture
def target(bare: Provider, book: Provider) -> Iterator[Provider]:
    """Another database as the provider makes it, with nothing of ours."""
    with bare.copy(fresh_name("target"), book.schema) as provider:
        prepare(provider)
        yield provider


def dump_and_restore(source: Provider, target: Provider, folder: Path) -> None:
    """All that belongs to alpha_owner, by the customer's administrator."""
    file, contents = folder / "book.dump", folder / "contents"
    server = source.server
    server.program("pg_dump", "-Fc", "-n", source.schema, "-f", file, "-d", source.dsn(ADMIN))
    listed = server.program("pg_restore", "-l", file).stdout.splitlines(keepends=True)
    contents.write_text("".join(line for line in listed if line.endswith(" alpha_owner\n")), encoding="utf-8")
    server.program(
        "pg_restore", "-1", "--exit-on-error", "--no-owner", "--role=alpha_owner", "-L", contents,
        "-d", target.dsn(ADMIN), file,
    )  # fmt: skip


def heads(connection: Connection) -> list[dict[str, object]]:
    return query(connection, "select table_name, last_id, head_hash from chain_status()")


def test_a_dump_is_restored_by_the_administrator(
    book: Provider, written: tuple[Path, Path], target: Provider, tmp_path: Path
) -> None:
    dump_and_restore(book, target, tmp_path)
    with target.connect() as admin, target.connect("trader") as trader, book.connect() as before:
        hidden = one(admin, "select count(*) from pg_class where relrowsecurity")
        assert (hidden > 0) is (book.name == "supabase"), "its event trigger meets each restored table"
        admin.execute(ROWS_ARE_SEEN)
        assert heads(admin) == heads(before)
        assert_healthy(admin)
        fill(trader, first=100)
        assert_healthy(admin)
    folder, key = written
    run("--dsn", target.dsn("auditor"), "verify-chain", "--checkpoints", folder, "--trust", public(key))


@pytest.mark.long
def test_a_dump_is_restored_on_another_server(
    book: Provider, written: tuple[Path, Path], binaries: Path, tmp_path: Path
) -> None:
    """The roles are made by hand: pg_dumpall would need to read pg_authid."""
    with provided(book.name, binaries) as server:
        elsewhere = replace(server, schema=book.schema)
        with elsewhere.connect() as admin:
            for command in ROLES:
                admin.execute(command)
        prepare(elsewhere)
        elsewhere.make_logins()
        dump_and_restore(book, elsewhere, tmp_path)
        with elsewhere.connect() as admin:
            admin.execute(ROWS_ARE_SEEN)
            assert_healthy(admin)
        folder, key = written
        run(
            "--dsn", elsewhere.dsn("auditor"), "verify-chain", "--checkpoints", folder, "--trust", public(key)
        )
