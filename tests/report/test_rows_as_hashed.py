"""rows_as_hashed() gives every row of a chain, whatever somebody wrote into it."""

from __future__ import annotations

import pytest

from tests.support import Connection, query

pytestmark = pytest.mark.any_server


def test_json_that_jsonb_cannot_hold_hides_no_row(db: Connection) -> None:
    query(db, "create table notes (id bigint primary key, said json); select chain_table('notes')")
    for said in (r'"\ud800"', r'"\u0000"', "1e400000", "[1]"):
        db.execute("insert into notes (said) values (%s)", [said])
    found = db.execute(
        "select id, members -> 'said', row_hash = encode(sha256(decode(previous_hash, 'hex')"
        " || convert_to(row_data, 'UTF8')), 'hex') from rows_as_hashed('notes', '{1, 2, 3, 4}')"
    ).fetchall()
    assert found == [(1, None, True), (2, None, True), (3, None, True), (4, [1], True)]
