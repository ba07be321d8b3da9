"""--all-schemas where the desks do not trust each other: whose rights a desk gets, and desks that somebody hides."""

from __future__ import annotations

import pytest

from alpha_db.cli import boundary
from alpha_db.errors import NotInstalled
from alpha_db.verify.cli.all_schemas import Desk as Found
from alpha_db.verify.cli.all_schemas import merged, readable
from alpha_db.verify.cli.desk_names import encoded
from alpha_db.watch.database import SharedDatabase
from tests.checkpoint.book import make_key
from tests.cli.desk import ODD, Desk
from tests.cluster import Server
from tests.fix_database import LoginRole
from tests.support import Connection, query, quote

pytest_plugins = ["tests.cli.fix_two_desks"]
pytestmark = pytest.mark.any_server

ESCAPE = "\x1b[2J"


@pytest.fixture
def other(root: Connection, login_role: LoginRole) -> str:
    """A role that owns the tables of one of two desks, and is no alpha_owner."""
    name = login_role()
    kept = "select relname from pg_class where relkind in ('r', 'v') and relnamespace = to_regnamespace(%s)"
    for row in query(root, kept, [quote(ODD)]):
        query(root, f"alter table {quote(ODD)}.{quote(row['relname'])} owner to {name}")
    return name


@pytest.mark.parametrize("command", [["guards"], ["watch", "--once"]], ids=" ".join)
def test_who_may_act_as_one_of_several_owners_is_refused(
    changed: Desk, root: Connection, other: str, login_role: LoginRole, server: Server, command: list[str]
) -> None:
    """The functions of one desk would run with rights in the others, so none of them is called."""
    for login in (None, login_role(other)):
        changed.dsn = server.dsn(root.info.dbname, login)
        told = changed.run(*command, "--all-schemas", expect=3)
        assert "belong to different owners, and login " in told.err
        assert "HINT: use a login that is only a member of app_auditor of each desk" in told.err
        assert "public" not in told.out


def test_a_desk_whose_tables_were_given_away(
    changed: Desk, root: Connection, other: str, login_role: LoginRole, server: Server
) -> None:
    """No alpha_owner owns them, and it is named all the same: whoever may act as neither owner is answered."""
    assert other
    changed.dsn = server.dsn(root.info.dbname, login_role("app_auditor"))
    found = changed.run("guards", "--all-schemas", "--json", expect=None).json
    codes = {desk["schema"]: desk["exit_code"] for desk in found["schemas"]}
    assert codes[ODD] in (1, 3)
    assert codes["public"] == 0


def test_a_schema_that_is_gone_and_one_that_is_none(changed: Desk, root: Connection) -> None:
    """The first has checkpoints; the second was made to look like a desk. Neither keeps a true desk from signing."""
    query(root, f"alter schema {quote(ODD)} rename to kept; drop schema kept cascade")
    query(root, "create schema fake; create table fake.installed_migrations ()")
    query(root, "alter table fake.installed_migrations owner to alpha_owner")
    for schema, name in (("public", "a"), ("fake", "a")):
        make_key(changed.folder, f"desks.example/{name}", f"{encoded(schema)}.key")
    for schema in ("public", ESCAPE):
        (changed.folder / "runs" / encoded(schema)).mkdir(parents=True)
    (changed.folder / "runs" / encoded(ESCAPE) / "000000001").mkdir()
    (changed.folder / "runs" / "empty").mkdir()
    command = "checkpoint", "create", "--all-schemas", "--key", f"{changed.folder}/{{schema}}.key"
    shown = changed.run(*command, f"{changed.folder}/runs/{{schema}}", expect=3).out
    assert "absent   \\u001b[2J  error: there are checkpoints of it, and no such schema" in shown
    assert "not run  fake       error [42P01]: no installation: schema fake holds" in shown
    assert "ok       public " in shown
    assert "\x1b" not in shown
    assert "empty" not in shown


def test_each_desk_is_asked_in_a_session_of_its_own(two_desks: str, server: Server) -> None:
    """What a desk leaves in its session, such as prepared statements, meets no other desk."""
    database = SharedDatabase(server.dsn(two_desks), 20)
    sessions = []
    for schema in (None, ODD, ODD, "public", None):
        database.ask_in(schema, "where_am_i", {"schema": None})
        assert database._conn is not None
        assert database._conn.prepare_threshold is None
        sessions.append(database._conn.info.backend_pid)
    database.close()
    assert sessions[0] == sessions[1] == sessions[2]
    assert len(set(sessions)) == 3


def test_a_name_with_line_breaks_in_the_exposition() -> None:
    """What is a line break for Python only is none here; and a desk that answers rubbish is down, alone."""
    sample = 'alpha_db_chain_valid{table="a\u2028b\x85c\x0b\x1c"} 1\n'
    good = readable(Found("public", 0, text=f"# HELP x y\n# TYPE x gauge\n{sample}"))
    bad = readable(Found(ODD, 0, text="\n# HELP x y\nrubbish\n"))
    assert (good.exit_code, bad.exit_code) == (0, 3)
    shown = merged([good, bad])
    assert sample.replace("{", '{schema="public",') in shown
    assert "rubbish" not in shown


def test_an_error_brings_no_escape_sequence_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    problem = NotInstalled(f"schema {ESCAPE}", hint=f"CREATE SCHEMA {ESCAPE}")
    assert "\x1b" not in boundary.told(problem)[1]
    boundary.say(f"usage: {ESCAPE}")
    assert capsys.readouterr().err == "alpha-db: usage: \\u001b[2J\n"
