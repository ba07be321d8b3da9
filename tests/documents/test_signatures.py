"""docs/sql/ shows functions and docs/design.md tables as the catalogue has them."""

from __future__ import annotations

import re

import pytest

from tests.support import AUDIT_TABLES, ROOT, Connection, query

PAGE = "\n".join(page.read_text(encoding="utf-8") for page in sorted(ROOT.glob("docs/sql/*.md")))
_BLOCKS = "\n".join(re.findall(r"^```text\n(.*?^```)", PAGE, re.DOTALL | re.M))
SHOWN = re.findall(r"^([a-z_0-9]+\(.+?)(?=^[a-z]|^```)", _BLOCKS, re.DOTALL | re.M)

pytestmark = pytest.mark.any_server


def plain(signature: str) -> str:
    """A signature without what the page leaves out: types of money, casts, the argument that nobody gives."""
    text = " ".join(signature.lower().split()).replace("timestamp with time zone", "timestamptz")
    text = re.sub(r",? ?(?:in )?money_type anycompatible[^,)]*", "", text)
    text = re.sub(r'::[a-z ]+(?=[,)])| anycompatible|\bin (?=["\w]+ )', "", text)
    return text.replace("table (", "table(")


def in_the_catalogue(db: Connection) -> dict[str, str]:
    """Every function and procedure of the schema, by name, in the words of the page."""
    rows = query(
        db,
        "select p.proname as name, p.proname || '(' || pg_get_function_arguments(p.oid) || ')'"
        "       || case p.prokind when 'p' then '' else ' → ' || pg_get_function_result(p.oid) end as signature"
        " from pg_proc as p where p.pronamespace = current_schema()::regnamespace",
    )
    return {row["name"]: plain(row["signature"]) for row in rows}


@pytest.mark.reads_only
def test_signatures_are_those_of_the_catalogue(db: Connection) -> None:
    found = in_the_catalogue(db)
    shown = {signature.partition("(")[0]: plain(signature) for signature in SHOWN}
    assert {"append_signal", "append_order_event", "record_signal", "verify_range", "ed25519_verify"} <= set(
        shown
    )
    assert shown == {name: found.get(name) for name in shown}


@pytest.mark.reads_only
def test_every_section_of_a_function_shows_its_signature(db: Connection) -> None:
    sections = set(re.findall(r"^### (\w+)$", PAGE, re.M)) & set(in_the_catalogue(db))
    assert sections - {signature.partition("(")[0] for signature in SHOWN} == set()


def test_results_of_append_in_order(db: Connection) -> None:
    said = re.search(r"CALL returns one row, `([^`]+)`, in this order", " ".join(PAGE.split()))
    assert said
    signal = query(db, "call append_signal('tv-1', 'BTCUSD', 'BUY', 1, 1, '{}')")[0]
    calls = [
        ("append_ai_debate(%s, 'deepseek-r1', '{}', 0.5, 10)", signal["correlation_id"]),
        ("append_order(%s, 'MARKET', 'BTCUSD', 'BUY', 1)", signal["correlation_id"]),
        ("append_order_event(%s, 'EXPIRED')", 1),
    ]
    rows = [signal, *(query(db, f"call {call}", [argument])[0] for call, argument in calls)]
    assert [", ".join(row) for row in rows] == [said[1]] * 4
    assert {row["correlation_id"] for row in rows} == {signal["correlation_id"]}
    given = "call append_order_event(1, 'EXPIRED', correlation_id => gen_random_uuid(), id => 77, row_hash => 'x')"
    row = query(db, given)[0]
    assert (row["correlation_id"], row["id"]) == (signal["correlation_id"], 2)


@pytest.mark.reads_only
@pytest.mark.parametrize("table", AUDIT_TABLES)
def test_design_has_the_columns_of_the_table(table: str, db: Connection) -> None:
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    said = re.search(rf"^`{table}`, [^\n]+:\n\n\|.+\n\|.+\n((?:\|.+\n)+)", design, re.M)
    assert said
    shown = re.findall(r"^\| `(\w+)` \| ([^|]+?)(, \*null\*)? \|", said[1], re.M)
    rows = query(
        db,
        "select attname, format_type(atttypid, atttypmod) as type, attnotnull from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum",
        [table],
    )
    for row in rows:
        row["type"] = re.sub(r"decimal_(\d+)_(\d+)", r"decimal(\1,\2)", row["type"])
        row["type"] = row["type"].replace("character varying", "varchar").replace("character(", "char(")
        row["type"] = row["type"].replace("timestamp with time zone", "timestamptz")
    assert shown == [(row["attname"], row["type"], "" if row["attnotnull"] else ", *null*") for row in rows]
