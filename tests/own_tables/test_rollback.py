"""007 is not taken back while an own table holds rows."""

from __future__ import annotations

from tests.cluster import Server
from tests.support import ROLLBACKS, Connection, one, psql_file, query

#: from 24 to 007
FILES = ROLLBACKS[:3]


def test_while_it_holds_rows(server: Server, trades: Connection) -> None:
    query(trades, "insert into trades (ref) values ('a')")
    for file in FILES[:-1]:
        psql_file(server, trades.info.dbname, file)
    refused = psql_file(server, trades.info.dbname, FILES[-1], check=False)
    assert "007_own_tables is not rolled back, because trades holds rows" in refused.stderr


def test_while_it_is_empty(server: Server, trades: Connection) -> None:
    for file in FILES:
        psql_file(server, trades.info.dbname, file)
    assert one(trades, "select count(*) from pg_trigger where tgrelid = 'trades'::regclass") == 0
    query(trades, "update trades set price = 1")
    assert one(trades, "select count(*) from verify_guards()") == 0
