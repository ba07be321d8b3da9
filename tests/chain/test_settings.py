"""A session's settings never change a hash (docs/chain-format.md)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg.types.string import TextLoader

from tests.chain.by_force import TABLES, broken_in_python, fill_all, judge, places
from tests.fix_database import Connect
from tests.support import Connection, changed_guards, one, query, tamper

SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "TimeZone west": {"timezone": "America/St_Johns"},
    "TimeZone east": {"timezone": "Asia/Kathmandu"},
    "TimeZone posix": {"timezone": "<+1130>-11:30"},
    "DateStyle SQL": {"datestyle": "SQL, DMY"},
    "DateStyle German": {"datestyle": "German"},
    "DateStyle Postgres": {"datestyle": "Postgres, MDY"},
    "IntervalStyle": {"intervalstyle": "iso_8601"},
    "bytea_output": {"bytea_output": "escape"},
    "extra_float_digits low": {"extra_float_digits": "-15"},
    "extra_float_digits high": {"extra_float_digits": "3"},
    "locale": {"lc_monetary": "C.UTF-8", "lc_numeric": "C.UTF-8", "lc_time": "C.UTF-8"},
    "client_encoding": {"client_encoding": "LATIN1"},
    "standard_conforming_strings": {"standard_conforming_strings": "off", "backslash_quote": "on"},
    "no JIT, no hash, no index": {"jit": "off", "enable_hashagg": "off", "enable_indexscan": "off"},
    "all parallel": {
        "parallel_setup_cost": "0",
        "parallel_tuple_cost": "0",
        "min_parallel_table_scan_size": "0",
    },
    "plan cache": {"plan_cache_mode": "force_generic_plan"},
    "array_nulls": {"array_nulls": "off"},
    "xmloption, quoting": {"xmloption": "document", "quote_all_identifiers": "on"},
}
PLANS = ("no JIT, no hash, no index", "all parallel", "plan cache")
TEXTS = "all that print otherwise"
SETTINGS[TEXTS] = {
    setting: value for name in SETTINGS if name not in PLANS for setting, value in SETTINGS[name].items()
}
#: Each setting by itself is tried on signals, which has a column of every type here.
ONE_FOR_ALL = [
    pytest.param(SETTINGS[name], id=name, marks=() if name == TEXTS else pytest.mark.long)
    for name in SETTINGS
]
PAYLOAD = '{"note": "é \\" \\\\ / \\u0001", "n": 1.50, "t": "2026-01-25T12:00:00+02:00"}'
WRITE = """
insert into signals (correlation_id, signal_id, symbol, side, price, quantity, raw_payload, source_ip, hmac_verified,
                     seen, raw, ratio, took)
values ('6f1c1e9e-3c1b-4a52-9d5a-0e6b7c1d2e3f', 'tv-1', 'BTCUSD', 'BUY', 64123.55, 0.25, %s, '52.89.214.238', true,
        '2026-01-25 12:00:00.123456+00', %s, 0.1::float8 + 0.2::float8, interval '400 days 2 hours')
"""


@pytest.fixture
def grown(db: Connection) -> Connection:
    """signals with a column of every type whose text depends on a setting."""
    query(
        db,
        "alter table signals add column seen timestamptz, add column raw bytea, add column ratio float8,"
        " add column took interval",
    )
    with db.transaction():
        query(db, "set local role alpha_owner")
        query(db, "select chain_extend('signals')")
    return db


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_same_content_gets_the_same_hash(
    grown: Connection, connect: Connect, settings: dict[str, Any], pytestconfig: pytest.Config
) -> None:
    writer = connect(**settings)
    query(writer, WRITE, [PAYLOAD, b"\x00\xff\\a"])
    stored = one(grown, "select row_hash from signals")
    expected = one(grown, "select row_data from chain_rows('signals')")
    # All but the server's clock is known, so the text is written out here, and the database's under each setting.
    created_at = one(grown, "select created_at from signals")
    assert isinstance(created_at, datetime)
    text = created_at.astimezone(UTC).isoformat()
    if "." in text:
        text = text.split("+")[0].rstrip("0") + "+00:00"
    assert expected == (
        '{"id":1,"correlation_id":"6f1c1e9e-3c1b-4a52-9d5a-0e6b7c1d2e3f","signal_id":"tv-1","symbol":"BTCUSD","side":"BUY",'
        '"price":64123.5500000000,"quantity":0.2500000000,"raw_payload":{"n": 1.50, "t": "2026-01-25T12:00:00+02:00", '
        '"note": "é \\" \\\\ / \\u0001"},"source_ip":"52.89.214.238","hmac_verified":true,'
        '"delivery_id":null,"created_at":"' + text + '",'
        '"recorded_by":"postgres",'
        '"seen":"2026-01-25T12:00:00.123456+00:00","raw":"\\\\x00ff5c61","ratio":0.30000000000000004,'
        '"took":"400 days 02:00:00"}'
    )  # fmt: skip
    # What is stored is the same whoever wrote it: all readers read what one writer wrote, and with --all each one.
    everybody = not settings or pytestconfig.getoption("--all")
    for reader_settings in SETTINGS.values() if everybody else ({}, settings):
        reader = connect(**reader_settings)
        assert query(reader, "select row_data, row_hash from chain_rows('signals')") == [
            {"row_data": expected, "row_hash": stored}
        ]
        assert judge(reader, "signals").verdict == "intact"
        assert places(reader, "signals") == []
        assert broken_in_python(reader, "signals") is None
        reader.close()


@pytest.mark.parametrize("settings", ONE_FOR_ALL)
def test_all_tables_under_one_setting_and_another(
    db: Connection, connect: Connect, settings: dict[str, Any]
) -> None:
    writer = connect(**settings)
    writer.adapters.register_loader("timestamptz", TextLoader)  # psycopg reads no DateStyle but ISO
    fill_all(writer)
    for reader in (writer, db):
        for table in TABLES:
            assert judge(reader, table).verdict == "intact"
            assert broken_in_python(reader, table) is None
        assert changed_guards(reader) == []
    tamper(db, "update signals set raw_payload = raw_payload || '{\"x\": 1.50}' where id = 2")
    assert places(writer, "signals") == [(2, "content_mismatch")]


def test_two_sessions_give_one_row_the_same_hash(db: Connection, connect: Connect) -> None:
    """The clock apart: the second row is the first with its id and time, forced behind the triggers."""
    west = connect(timezone="America/St_Johns", datestyle="German", bytea_output="escape")
    east = connect(timezone="Asia/Kathmandu", datestyle="SQL, DMY", extra_float_digits="-15")
    query(west, "select id from record_signal('tv-1', 'X', 'BUY', 1.5, 1, %s)", [PAYLOAD])
    first = query(db, "select * from chain_rows('signals')")
    with east.transaction(force_rollback=True):
        query(east, "set local session_replication_role = replica")
        query(east, "alter table signals disable trigger all")
        query(east, "create temp table copy as select * from signals")
        query(east, "delete from signals")
        query(east, "insert into signals select * from copy")
        assert query(east, "select * from chain_rows('signals')") == first
        assert judge(east, "signals").verdict == "intact"


@pytest.mark.parametrize("path", ["''", "pg_temp, public", "evil, public", "evil, pg_catalog, public"])
def test_search_path_does_not_lead_the_functions_astray(db: Connection, connect: Connect, path: str) -> None:
    query(db, "create schema evil")
    query(db, "create table evil.signals (like public.signals)")
    query(db, "create table evil.chain_columns (like public.chain_columns)")
    query(db, "create function evil.sha256(bytea) returns bytea language sql as $$ select '\\x00'::bytea $$")
    query(
        db,
        "create function evil.row_to_json(record) returns json language plpgsql as $$ begin return '{}'; end $$",
    )
    query(
        db,
        "create function evil.chain_genesis(text) returns text language sql as $$ select repeat('0', 64) $$",
    )
    query(db, "create function evil.round(numeric, integer) returns numeric language sql as $$ select 7 $$")
    session = connect(search_path=path)
    query(session, "select id from public.record_signal('tv-1', 'X', 'BUY', 1.5, 1, '{}')")
    found = query(session, "select * from public.verify_chain_integrity()")
    assert {row["verdict"] for row in found} == {"intact"}
    assert one(db, "select price::text from signals") == "1.5000000000"
    assert broken_in_python(db, "signals") is None
    assert one(db, "select count(*) from evil.signals") == 0


LOCALES = ["lc_messages", "lc_monetary", "lc_numeric", "lc_time"]


@pytest.mark.parametrize(
    "locales", [LOCALES, *(pytest.param([one], marks=pytest.mark.long) for one in LOCALES)]
)
def test_locales(db: Connection, connect: Connect, locales: list[str]) -> None:
    """In a locale with decimal commas, if the machine has one."""
    foreign = one(db, "select collname from pg_collation where collcollate ~* '^(de|fr|ru)_.*utf'")
    options: dict[str, Any] = dict.fromkeys(locales, foreign or "C.UTF-8")
    fill_all(connect(**options))
    assert {judge(db, table).verdict for table in TABLES} == {"intact"}
