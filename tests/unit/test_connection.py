"""Where a DSN comes from, what is added to it, and that no error shows its password."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from alpha_db.connection import connect, parameters, set_option
from alpha_db.errors import AlphaDbError, ConnectionFailed, translate


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALPHA_DB_DSN", "PGOPTIONS", "PGCONNECT_TIMEOUT", "PGHOST", "PGPORT", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)


def test_argument_before_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHA_DB_DSN", "dbname=from_environment")
    assert parameters("dbname=given")["dbname"] == "given"
    assert parameters()["dbname"] == "from_environment"
    monkeypatch.delenv("ALPHA_DB_DSN")
    assert "dbname" not in parameters()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg3"])
def test_url_schemes(scheme: str) -> None:
    params = parameters(f"{scheme}://u:p%40ss@db.example:5433/trading?sslmode=require")
    assert params["user"] == "u"
    assert params["password"] == "p@ss"
    assert params["dbname"] == "trading"
    assert params["sslmode"] == "require"


def test_defaults_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parameters("dbname=x")["connect_timeout"] == 10
    assert parameters("dbname=x connect_timeout=3")["connect_timeout"] == "3"
    assert parameters("dbname=x application_name=mine")["application_name"] == "mine"
    assert parameters("dbname=x")["fallback_application_name"] == "alpha-db"
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "2")
    assert "connect_timeout" not in parameters("dbname=x")


@pytest.mark.parametrize(
    ("schema", "option"),
    [
        ("desk_a", '-csearch_path="desk_a"'),
        ("Desk A", '-csearch_path="Desk\\ A"'),
        ('we"ird', '-csearch_path="we""ird"'),
        ("back\\slash", '-csearch_path="back\\\\slash"'),
    ],
)
def test_schema_is_quoted(schema: str, option: str) -> None:
    assert parameters("dbname=x", schema=schema)["options"] == option


def test_options_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    params = parameters("dbname=x options=-cjit=off", schema="s")
    assert params["options"] == '-cjit=off -csearch_path="s"'
    set_option(params, "alpha.role_prefix", "desk_")
    assert params["options"].endswith("-calpha.role_prefix=desk_")
    # libpq ignores PGOPTIONS as soon as a connection has options of its own
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=1s")
    assert parameters("dbname=x", schema="s")["options"] == '-c statement_timeout=1s -csearch_path="s"'


SECRET = "s3cr3tpw"


@pytest.mark.parametrize(
    "dsn",
    [
        SECRET,
        f"postgresql://u:{SECRET}@127.0.0.1:1/db",
        f"postgresql://u:x@{SECRET}@127.0.0.1:1/db",
        f"postgresql://u:{SECRET}/x@127.0.0.1:1/db",
        f"postgresql://u:x/{SECRET}@127.0.0.1:1/db",
        f"postgresql://u:{SECRET}%zz@127.0.0.1:1/db",
        f"postgresql://u:%{SECRET}@127.0.0.1:1/db",
        f"postgresql://u:{SECRET}:x@127.0.0.1:1/db",
        f"postgresql://u:{SECRET}#x@127.0.0.1:1/db",
        f"postgresql://u:{SECRET} x@127.0.0.1:1/db",
        f"postgresql://u:[{SECRET}@127.0.0.1:1/db",
        f"postgresql://u:{SECRET}@[::1/db",
        f"postgresql://u:{SECRET}@127.0.0.1:1/db?bogus=1",
        f"postgresql://127.0.0.1:1/db?user=u&password={SECRET}&bogus",
        f"host=127.0.0.1 port=1 password={SECRET}",
        f"host=127.0.0.1 port=1 password={SECRET} x",
        f"host=127.0.0.1 port=1 password=a {SECRET}",
        f"host=127.0.0.1 port=1 password='{SECRET}",
        f"host=127.0.0.1 port=x password='{SECRET}'",
        f"host=127.0.0.1 port=1 pasword={SECRET}",
    ],
)
def test_no_error_shows_the_password(dsn: str) -> None:
    with pytest.raises(ConnectionFailed) as caught:
        connect(dsn)
    told = f"{caught.value} {caught.value.detail} {caught.value.hint}"
    assert SECRET not in told
    assert "\n" not in told
    assert caught.value.sqlstate == "08001"


def test_password_of_the_environment_is_hidden_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHA_DB_DSN", f"postgresql://u:x@{SECRET}@127.0.0.1:1/db")
    with pytest.raises(ConnectionFailed) as caught:
        connect()
    assert SECRET not in str(caught.value)


def test_unreachable_server_is_one_line() -> None:
    with pytest.raises(ConnectionFailed, match="Connection refused") as caught:
        connect("host=127.0.0.1 port=1 user=u")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ({"conninfo": "host=no.such.host.invalid"}, "the host's name"),
        ({"conninfo": "host=a..b"}, "the host's name"),
        ({"conninfo": "host=127.0.0.1 port=1"}, "whether a server runs there"),
        ({"conninfo": "host=/nowhere", "autocomit": True}, "autocommit"),
        ({"conninfo": "host=/nowhere port=99999"}, "as libpq takes them"),
        ({"conninfo": "service=nosuch"}, "pg_service.conf"),
    ],
    ids=str,
)
def test_what_keeps_a_connection_from_being_has_a_hint(arguments: dict[str, Any], hint: str) -> None:
    rest = {name: value for name, value in arguments.items() if name != "conninfo"}
    with pytest.raises(ConnectionFailed) as caught:
        connect(arguments["conninfo"], **rest)
    assert (caught.value.code, "Errno" in str(caught.value)) == ("08001", False)
    assert hint in str(caught.value.hint)


def test_what_psycopg_says_of_an_unknown_option_has_a_hint_too() -> None:
    with pytest.raises(AlphaDbError) as caught, translate():
        psycopg.connect("host=/nowhere no_such=1")
    assert (type(caught.value), caught.value.code, bool(caught.value.hint)) == (
        ConnectionFailed,
        "08001",
        True,
    )
