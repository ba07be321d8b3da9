"""Tables of strangers that refer to the log: none stops a plan, or runs its owner's code with alpha-db's rights."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.fix_database import Connect, LoginRole
from tests.retention.shelf import Shelf
from tests.support import one, query, wait_blocked

LIMIT = "select limited_by from retention_plan(now()) where planned_table = 'signals'"


@pytest.mark.parametrize(
    "hide", ["revoke usage on schema desk from public", "alter table desk.notes enable row level security"]
)
def test_a_table_that_cannot_be_read_whole(shelf: Shelf, hide: str) -> None:
    db = shelf.connection
    db.execute("create schema desk; grant usage on schema desk to public")
    db.execute("create table desk.notes (signal bigint references signals (id))")
    db.execute("insert into desk.notes values (300); grant select on desk.notes to public")
    db.execute(hide)
    assert one(db, LIMIT) == "desk.notes (let alpha_owner read all of it) still refers to row 1"


def test_a_view_that_takes_the_table_s_place_while_it_is_read(
    shelf: Shelf, connect: Connect, login_role: LoginRole
) -> None:
    db, clerk = shelf.connection, login_role()
    db.execute(f"create schema clerk authorization {clerk}; grant usage on schema clerk to public")
    db.execute("create table clerk.notes (signal bigint references signals (id))")
    db.execute(f"alter table clerk.notes owner to {clerk}; grant select on clerk.notes to public")
    owner = connect(clerk, autocommit=False)
    owner.execute(
        "create function clerk.ran() returns bigint language plpgsql as"
        " $$ begin raise exception 'ran as %', current_user; end $$"
    )
    owner.commit()
    owner.execute("lock table clerk.notes in access exclusive mode")
    auditor = connect()
    with ThreadPoolExecutor(1) as pool:
        planned = pool.submit(query, auditor, LIMIT)
        wait_blocked(db, auditor.info.backend_pid)
        owner.execute("alter table clerk.notes rename to was_notes")
        owner.execute(
            "create view clerk.notes as select clerk.ran() as signal; grant select on clerk.notes to public"
        )
        owner.commit()
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="TABLESAMPLE"):
            planned.result()
