"""Chain format 1 (docs/chain-format.md): the published test vector, the genesis values, the form of row_data."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from alpha_db.verify import chain
from tests.chain.by_force import TABLES, broken_in_python, judge
from tests.support import Connection, one, query, tamper

ROW_DATA = (
    r'{"id":1,"correlation_id":"6f1c1e9e-3c1b-4a52-9d5a-0e6b7c1d2e3f","signal_id":"tv-20260125-0001",'
    r'"symbol":"BTCUSD","side":"BUY","price":64123.5500000000,"quantity":0.2500000000,'
    r'"raw_payload":{"n": 1.50, "note": "é \" \\ / \u0001", "nested": {"a": null}, "ticker": "BTCUSD"},'
    r'"source_ip":"52.89.214.238","hmac_verified":true,"delivery_id":null,"created_at":"2026-01-25T12:00:00.123456+00:00",'
    r'"recorded_by":"trader"}'
)
ROW_HASH = "aaff9a6aef2427bdfea0aa667876adafa250dcc3a4c2467eb962a1143b679517"
# The same row without delivery_id and recorded_by: the vector of the eleven columns, which came first.
ELEVEN_COLUMNS = ROW_DATA.replace(',"recorded_by":"trader"', "").replace(',"delivery_id":null', "")
HASH_OF_ELEVEN = "1249362c31a73546f9bfffa18dabfcb38fd47b98210249d04bcc5a67bc274e1b"
GENESIS_OF_SIGNALS = "3b652410c0a327c648cc7f9215b32b2cb2475f51e1e1e97c12e43e7b056e9e81"
INSERT = r"""
insert into signals values (1, '6f1c1e9e-3c1b-4a52-9d5a-0e6b7c1d2e3f', 'tv-20260125-0001', 'BTCUSD', 'BUY',
  64123.5500000000, 0.2500000000,
  '{"ticker": "BTCUSD", "note": "é \" \\ / \u0001", "n": 1.50, "nested": {"a": null}}',
  '52.89.214.238', true, null, %s, '2026-01-25 14:00:00.123456+02', 'trader')
"""


def test_the_vector_is_what_hashlib_says() -> None:
    assert sha256(bytes.fromhex(GENESIS_OF_SIGNALS) + ROW_DATA.encode()).hexdigest() == ROW_HASH
    assert chain.row_hash(chain.genesis("signals"), ROW_DATA) == ROW_HASH
    assert chain.row_hash(chain.genesis("signals"), ELEVEN_COLUMNS) == HASH_OF_ELEVEN


def test_the_vector_is_intact_as_a_row(db: Connection) -> None:
    tamper(db, INSERT, [ROW_HASH])
    assert query(db, "select * from chain_rows('signals')") == [
        {"id": 1, "row_data": ROW_DATA, "row_hash": ROW_HASH}
    ]
    assert judge(db, "signals").verdict == "intact"
    assert chain.recompute(db, "signals") == chain.Recomputed(1, ROW_HASH, None)


def test_the_vector_of_eleven_columns_is_intact_as_a_row_from_before_the_others(db: Connection) -> None:
    """As if delivery_id and recorded_by had been added after the first row."""
    tamper(
        db,
        "delete from chain_columns where table_name = 'signals';"
        " insert into chain_columns select v.* from (values"
        "  (90::bigint, 'signals', 1::bigint,"
        "   (select array_agg(column_name) from _hashed_columns('signals')"
        "    where column_name not in ('delivery_id', 'recorded_by')),"
        "   '{}'::jsonb, repeat('0', 64)::char(64), now(), 'forged'),"
        "  (91, 'signals', 2, (select array_agg(column_name) from _hashed_columns('signals')),"
        "   '{\"delivery_id\": null, \"recorded_by\": \"trader\"}', repeat('0', 64), now(), 'forged')) as v",
    )
    tamper(db, INSERT, [HASH_OF_ELEVEN])
    assert one(db, "select row_data from chain_rows('signals')") == ELEVEN_COLUMNS
    assert judge(db, "signals").verdict == "intact"
    assert chain.recompute(db, "signals") == chain.Recomputed(1, HASH_OF_ELEVEN, None)


def test_another_hash_for_the_vector_is_damage(db: Connection) -> None:
    tamper(db, INSERT, ["0" * 64])
    verdict = judge(db, "signals")
    assert (verdict.verdict, verdict.expected_hash) == ("content_mismatch", ROW_HASH)
    assert broken_in_python(db, "signals") == 1


@pytest.mark.parametrize("table", TABLES)
def test_genesis(db: Connection, table: str) -> None:
    expected = sha256(f"alpha-db/chain/v1/{table}".encode()).hexdigest()
    assert one(db, "select chain_genesis(%s)", [table]) == expected == chain.genesis(table)


def test_genesis_of_signals_is_the_published_one(db: Connection) -> None:
    assert one(db, "select chain_genesis('signals')") == GENESIS_OF_SIGNALS


def test_row_data_is_one_json_object_of_every_column_but_the_hash(db: Connection) -> None:
    """What the trigger hashed is what chain_rows exports, for a row with NULLs, every escape and no microseconds."""
    payload = {"t": "".join(map(chr, range(1, 0x20))) + '"\\/\x7f\u2028\U0001f512é'}
    query(
        db,
        "select id from record_signal('k \t\n\"\\\x01\x7fé\U0001f512', 'X', 'SELL', 1.5, 10, %s)",
        [json.dumps(payload)],
    )
    (row,) = query(db, "select row_data, row_hash from chain_rows('signals')")
    names = query(
        db,
        "select attname as name from pg_attribute where attrelid = 'signals'::regclass and attnum > 0"
        " and not attisdropped and attname <> 'row_hash' order by attnum",
    )
    assert list(json.loads(row["row_data"])) == [name["name"] for name in names]
    assert '"price":1.5000000000,"quantity":10.0000000000' in row["row_data"]
    assert '"source_ip":null' in row["row_data"]
    assert chain.row_hash(GENESIS_OF_SIGNALS, row["row_data"]) == row["row_hash"]
    assert broken_in_python(db, "signals") is None


@pytest.mark.parametrize(
    ("stored", "printed"),
    [
        ("2026-01-25 12:00:00+00", "2026-01-25T12:00:00+00:00"),
        ("2026-01-25 12:00:00.1+00", "2026-01-25T12:00:00.1+00:00"),
        ("2026-01-25 12:00:00.000010+00", "2026-01-25T12:00:00.00001+00:00"),
        ("2026-01-25 23:59:59.999999-08", "2026-01-26T07:59:59.999999+00:00"),
        ("12026-01-25 12:00:00+00", "12026-01-25T12:00:00+00:00"),
        ("0044-03-15 12:00:00+00 BC", "0044-03-15T12:00:00+00:00 BC"),
        ("infinity", "infinity"),
    ],
)
def test_python_prints_times_as_the_database_does(db: Connection, stored: str, printed: str) -> None:
    row_data = ROW_DATA.replace("2026-01-25T12:00:00.123456+00:00", printed)
    tamper(
        db,
        INSERT.replace("2026-01-25 14:00:00.123456+02", stored),
        [chain.row_hash(GENESIS_OF_SIGNALS, row_data)],
    )
    assert one(db, "select row_data from chain_rows('signals')") == row_data
    # The hash fits; but no clock gives an infinite time.
    is_time = stored != "infinity"
    assert judge(db, "signals").verdict == ("intact" if is_time else "order_violation")
    assert (broken_in_python(db, "signals") is None) == is_time
