"""Comparing the guards costs the same, however many installations share the catalogues."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.cluster import Server
from tests.migration.desk import Desk
from tests.support import Connection, changed_guards, one, query

#: Rows of the installation in `public` (2200; 99 is pg_toast), again for schemas that are not there: what more desks
#: add to the catalogues.
CLONE = """
do $clone$
declare
  catalogue  text;
  filled     text;
begin
  foreach catalogue in array array['pg_class', 'pg_attribute', 'pg_proc', 'pg_type', 'pg_constraint', 'pg_trigger',
                                   'pg_index', 'pg_attrdef', 'pg_sequence', 'pg_depend'] loop
    select string_agg(
      case when a.atttypid = 'oid'::regtype
           then format('case when t.%1$I >= 16384 or t.%1$I in (99, 2200)'
                       ' then (t.%1$I::bigint + k.number * 10000000)::oid else t.%1$I end', a.attname)
           else format('t.%I', a.attname) end, ', ' order by a.attnum)
      into filled
    from pg_attribute as a
    where a.attrelid = catalogue::regclass and a.attnum > 0;
    execute format('insert into %1$I select %2$s'
                   ' from %1$I as t cross join generate_series({first}, {last}) as k(number)'
                   ' where t.%3$I between 16384 and 9999999', catalogue, filled,
                   (select a.attname from pg_attribute as a
                    where a.attrelid = catalogue::regclass and a.atttypid = 'oid'::regtype
                      and a.attname in ('oid', 'attrelid', 'objid', 'indexrelid', 'seqrelid')
                    order by a.attnum limit 1));
  end loop;
end
$clone$
"""


def rows_read(connection: Connection) -> int:
    """How many rows of the catalogues guard_facts() reads, once its plans are made."""
    query(connection, "select count(*) from guard_facts()")
    count = "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_xact_sys_tables"
    with connection.transaction():
        before = one(connection, count)
        query(connection, "select count(*) from guard_facts()")
        return int(one(connection, count) - before)


def test_it_reads_no_more_rows_with_24_desks_than_with_6(db: Connection) -> None:
    """With few, the planner reads a catalogue whole, because it is small."""
    query(db, CLONE.format(first=1, last=6))
    query(db, "discard all")
    few = rows_read(db)
    query(db, CLONE.format(first=7, last=24))
    query(db, "discard all")
    assert rows_read(db) < 1.1 * few
    assert changed_guards(db) == []


@pytest.mark.parametrize(
    ("made", "catalogue", "name"),
    [
        ("function extra() returns int language sql return 1", "pg_proc", "extra()"),
        ("table extra ()", "pg_class", "extra"),
        ("type extra as enum ('a')", "pg_type", "extra"),
    ],
)
def test_an_object_that_a_superuser_takes_out_of_pg_depend_is_reported(
    db: Connection, made: str, catalogue: str, name: str
) -> None:
    query(db, f"create {made}")
    kind = {"pg_proc": "regprocedure", "pg_class": "regclass", "pg_type": "regtype"}[catalogue]
    query(
        db,
        f"delete from pg_depend where refclassid = 'pg_namespace'::regclass"
        f" and (classid, objid) = ('{catalogue}'::regclass, '{name}'::{kind})",
    )
    found = query(db, "select fact, problem from verify_guards() where object_name = 'extra'")
    assert {"fact": "is not in pg_depend", "problem": "extra"} in found


@pytest.mark.long
def test_with_30_true_desks(server: Server, empty_database: str) -> None:
    first = Desk(server, empty_database, schema="desk_1")
    read: dict[int, int] = {}
    with replace(first, schema="public").connect() as connection:
        for number in range(1, 31):
            query(connection, f"create schema desk_{number}")
            replace(first, schema=f"desk_{number}").migrate()
            if number in (10, 30):
                with first.connect() as desk:
                    read[number] = rows_read(desk)
                    assert changed_guards(desk) == []
    assert read[30] < 1.1 * read[10]
