"""What every object of the installation has: an owner, a comment, a name that somebody chose."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import AUDIT_TABLES, MIGRATIONS, ROLLBACKS, ROOT, Connection, query

pytestmark = pytest.mark.reads_only

SQL_FILES = [*MIGRATIONS, *ROLLBACKS, *sorted((ROOT / "superuser").glob("*.sql"))]

# Objects that must have a comment, by kind. A bigserial's sequence is part of its column.
COMMENTED = {
    "relations": """
        select c.relname from pg_class as c
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'm', 'S', 'p', 'f')
          and not exists (select from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = c.oid
                          and d.deptype in ('a', 'i') and d.refobjsubid > 0)
          and obj_description(c.oid, 'pg_class') is null""",
    "columns of tables and types": """
        select c.relname || '.' || a.attname from pg_class as c
        join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'c')
          and col_description(c.oid, a.attnum) is null""",
    "columns of views": """
        select c.relname || '.' || a.attname from pg_class as c
        join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace = 'public'::regnamespace and c.relkind = 'v'
          and col_description(c.oid, a.attnum) is null""",
    "functions": """
        select p.oid::regprocedure::text from pg_proc as p
        where p.pronamespace = 'public'::regnamespace and obj_description(p.oid, 'pg_proc') is null""",
    "types": """
        select t.typname from pg_type as t left join pg_class as c on c.oid = t.typrelid
        where t.typnamespace = 'public'::regnamespace and t.typcategory <> 'A'
          and (t.typrelid = 0 or c.relkind = 'c') and obj_description(t.oid, 'pg_type') is null""",
    "triggers": """
        select t.tgrelid::regclass || '.' || t.tgname from pg_trigger as t
        join pg_class as c on c.oid = t.tgrelid and c.relnamespace = 'public'::regnamespace
        where not t.tgisinternal and obj_description(t.oid, 'pg_trigger') is null""",
}


@pytest.mark.parametrize("bare", COMMENTED.values(), ids=list(COMMENTED))
def test_everything_has_a_comment(bare: str, db: Connection) -> None:
    assert query(db, bare) == []


def test_comments_are_sentences(db: Connection) -> None:
    """A full stop or a closing bracket, and no comment that only repeats the name."""
    odd = query(
        db,
        "select pg_describe_object(classoid, objoid, objsubid) as object, description from pg_description"
        " where (classoid = 'pg_class'::regclass and objoid in"
        "          (select oid from pg_class where relnamespace = 'public'::regnamespace and relkind <> 'v')"
        "     or classoid = 'pg_proc'::regclass and objoid in"
        "          (select oid from pg_proc where pronamespace = 'public'::regnamespace))"
        " and (description !~ '[.]$' or length(description) < 8)",
    )
    assert odd == []


def test_no_constraint_or_index_has_a_generated_name(db: Connection) -> None:
    """PostgreSQL would call them table_column_check, _check1, _key1, _excl, _not_null."""
    generated = query(
        db,
        "select conname from pg_constraint where connamespace = 'public'::regnamespace and contype <> 'n'"
        r" and (conname ~ '_(check|excl)\d*$' or conname ~ '_(key|fkey|pkey)\d+$')",
    )
    assert generated == []
    unconstrained = query(
        db,
        "select i.relname from pg_index as x join pg_class as i on i.oid = x.indexrelid"
        " where i.relnamespace = 'public'::regnamespace and i.relname !~ '_(pkey|key|idx)$'"
        " and i.relname <> 'idx_active_config'",
    )
    assert unconstrained == []


def test_everything_belongs_to_the_owner_role(db: Connection) -> None:
    foreign = query(
        db,
        "select o.name from ("
        " select relname, relowner, relnamespace from pg_class"
        " union all select proname, proowner, pronamespace from pg_proc"
        " union all select typname, typowner, typnamespace from pg_type) as o(name, owner, home)"
        " where o.home = 'public'::regnamespace and o.owner <> 'alpha_owner'::regrole",
    )
    assert foreign == []


def code(file: Path) -> str:
    """The file's SQL without comments and without what stands in quotes."""
    text = file.read_text(encoding="utf-8")
    return re.sub(
        r"--[^\n]*|E?'(?:[^'\\]|''|\\.)*'", lambda found: "" if found[0].startswith("--") else "''", text
    )


@pytest.mark.parametrize("file", SQL_FILES, ids=lambda file: file.name)
def test_keywords_and_names_are_in_lower_case(file: Path) -> None:
    shouted = re.findall(r"\b[A-Z][A-Z]+\b", code(file))
    assert shouted == []


@pytest.mark.parametrize("file", MIGRATIONS, ids=lambda file: file.name)
def test_every_constraint_is_named_where_it_is_written(file: Path) -> None:
    parts = r"(?:check \(|references |primary key|unique \(|unique nulls|foreign key)"
    unnamed = [
        line.strip()
        # a long one goes on in the next line
        for line in re.sub(
            r"\n\s+(?=references )|(?<=constraint )(\w+)\n\s+", r"\1 ", code(file)
        ).splitlines()
        if re.search(rf"(?:^|\s){parts}", line) and not re.match(r"\s*constraint \w+ ", line)
    ]
    assert unnamed == []


@pytest.mark.parametrize("file", SQL_FILES, ids=lambda file: file.name)
def test_file_can_be_split_and_run_by_any_client(file: Path) -> None:
    """One statement, no psql command, no transaction control, no byte order mark, LF."""
    raw = file.read_bytes()
    assert not raw.startswith(b"\xef\xbb\xbf")
    assert b"\r" not in raw
    assert raw.endswith(b"$;\n")
    tag = re.search(r"^do (\$\w+\$)$", raw.decode(), re.MULTILINE)
    assert tag is not None
    before, body, after = raw.decode().split(tag[1])
    assert all(line.startswith("--") or not line for line in before.removesuffix("do ").splitlines())
    assert after == ";\n"
    assert not re.search(r"^\\", body, re.MULTILINE)
    # Procedures may commit: they run later, and by themselves.
    body = re.sub(r"\$(procedure|begin|end)\$.*?\$\1\$", "", body, flags=re.DOTALL)
    assert not re.search(r"^\s*(commit|rollback|begin transaction|start transaction)\s*;", body, re.MULTILINE)


def test_names_of_triggers_tell_their_order(db: Connection) -> None:
    """PostgreSQL fires by name: reject, validate, and the chain last of all BEFORE triggers."""
    found = query(
        db,
        'select t.tgrelid::regclass::text as name, array_agg(t.tgname::text order by t.tgname collate "C") as triggers'
        " from pg_trigger as t join pg_class as c on c.oid = t.tgrelid"
        " where c.relnamespace = 'public'::regnamespace and not t.tgisinternal group by 1",
    )
    triggers = {row["name"]: row["triggers"] for row in found}
    protected = ["_100_reject_change", "_200_reject_truncate"]
    for table in AUDIT_TABLES:
        closed = [] if table in ("webhook_deliveries", "order_events") else ["_900_refuse_in_lockdown"]
        assert triggers.pop(table) == [*protected, *closed, "zzz_chain"]
    assert triggers.pop("risk_decisions") == [*protected, "zzz_chain"]
    protected = ["_050_owner_only", *protected]
    for table in (
        "installation", "log_nodes", "risk_configurations", "risk_asset_kill_thresholds", "chains", "attempt_counters",
        "retention_policies",
    ):  # fmt: skip
        assert triggers.pop(table) == protected
    assert triggers.pop("installed_migrations") == [*protected, "_500_sign"]
    assert triggers.pop("chain_starts") == [*protected, "_500_validate"]
    assert triggers.pop("lockdown_events") == [*protected, "_400_raise_alarm", "_500_validate", "zzz_chain"]
    assert triggers.pop("agents") == [*protected, "_500_validate", "_600_check_bootstrap", "zzz_chain"]
    for table, names in triggers.items():
        assert names in ([*protected, "zzz_chain"], [*protected, "_500_validate", "zzz_chain"]), table


def test_no_name_of_a_schema_in_a_migration() -> None:
    """Nothing in a migration names a schema but PostgreSQL's own."""
    for file in MIGRATIONS:
        qualified = re.findall(r"\b(public|desk_\w+)\.\w", code(file))
        assert qualified == [], file.name


@pytest.mark.parametrize("file", SQL_FILES, ids=[file.name for file in SQL_FILES])
def test_no_file_sets_a_length_that_a_user_may_have_widened(file: Path) -> None:
    """ALTER COLUMN … TYPE varchar(n) narrows a column that widen_column has made longer than n."""
    said = file.read_text(encoding="utf-8")
    assert (
        re.findall(r"\balter\s+(?:column\s+)?\w+\s+(?:set\s+data\s+)?type\s+(?:varchar|char)\w*", said, re.I)
        == []
    )
