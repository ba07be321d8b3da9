"""Into which schema, as which role; and what is refused, with a hint that can be followed as it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from tests.cluster import Server
from tests.fix_database import LoginRole, fresh_name
from tests.migration.desk import MIGRATION, ROLLBACK, Desk, contents, facts, hint, names_the_schema
from tests.support import Connection, assert_healthy, changed_guards, fill, one, query, quote

Root = Callable[[Desk], Connection]
InstalledAs = Callable[[str, str], Desk]

ROLES = ("alpha_owner", "app_trading", "app_auditor", "app_risk")

AS_SUPERUSER = "superuser"
AS_SCHEMA_OWNER = "owner of the schema with CREATEROLE"
AS_GRANTEE = "CREATE WITH GRANT OPTION and CREATEROLE"


def make_desk(empty: Desk, schema: str, prefix: str, migrator: str, as_whom: str) -> Desk:
    """A schema made ready for someone to migrate into it."""
    desk = replace(empty, schema=schema, prefix=prefix)
    with empty.connect() as connection:
        if schema != "public":
            connection.execute(f"create schema {quote(schema)}")
        if as_whom == AS_SUPERUSER:
            return desk
        if as_whom == AS_SCHEMA_OWNER:
            connection.execute(f"alter schema {quote(schema)} owner to {migrator}")
        else:
            connection.execute(
                f"grant usage, create on schema {quote(schema)} to {migrator} with grant option"
            )
    return desk.by(migrator)


@pytest.fixture(scope="module")
def templates(server: Server, admin: Connection) -> Iterator[Callable[[str, str], Desk]]:
    """Installations in a schema by someone, each made when it is first asked for, with the longest role prefix."""
    made: dict[tuple[str, str], Desk] = {}
    logins = []

    def template(schema: str, as_whom: str) -> Desk:
        if (schema, as_whom) not in made:
            logins.append(fresh_name("login"))
            name, prefix = fresh_name("installed"), fresh_name("p").ljust(39, "d") + "_"
            admin.execute(f"create role {logins[-1]} login createrole")
            admin.execute(f"create database {name} template template0")
            desk = make_desk(Desk(server, name), schema, prefix, logins[-1], as_whom)
            made[schema, as_whom] = desk
            desk.migrate()
        return made[schema, as_whom]

    yield template
    for desk in made.values():
        admin.execute(f"drop database {desk.dbname} with (force)")
        for role in ROLES:
            admin.execute(f"drop role if exists {desk.prefix}{role}")
    for login in logins:
        admin.execute(f"drop role {login}")


@pytest.fixture
def installed_as(
    templates: Callable[[str, str], Desk], make_database: Callable[..., str]
) -> Callable[[str, str], Desk]:
    """Factory: installed_as("Desk A", AS_SUPERUSER) is a clone of that installation."""

    def clone(schema: str, as_whom: str) -> Desk:
        template = templates(schema, as_whom)
        return replace(template, dbname=make_database(template.dbname))

    return clone


def application_works(desk: Desk, connection: Connection, login_role: LoginRole) -> None:
    """A login of the application writes, the auditor verifies, nothing is amiss."""
    prefix = desk.prefix or ""
    with desk.connect(login_role(f"{prefix}app_trading")) as writer:
        fill(writer)
    with desk.connect(login_role(f"{prefix}app_auditor")) as auditor:
        verdicts = query(auditor, "select verdict from verify_chain_integrity()")
        assert {row["verdict"] for row in verdicts} == {"intact"}
    assert_healthy(connection)
    assert one(connection, "select count(*) from signals") == 3


# As superuser into public is what most tests clone; a name without quotes differs from public in nothing else.
@pytest.mark.parametrize(
    ("schema", "as_whom"),
    [
        ("public", AS_GRANTEE),
        ("Desk A", AS_SUPERUSER),
        ("Desk A", AS_SCHEMA_OWNER),
        *(
            pytest.param(schema, as_whom, marks=pytest.mark.long)
            for schema, as_whom in [
                ("public", AS_SUPERUSER),
                ("public", AS_SCHEMA_OWNER),
                ("Desk A", AS_GRANTEE),
                ("desk_a", AS_SUPERUSER),
                ("desk_a", AS_SCHEMA_OWNER),
                ("desk_a", AS_GRANTEE),
            ]
        ),
    ],
)
def test_installs_into_any_schema(
    schema: str, as_whom: str, installed_as: InstalledAs, root: Root, login_role: LoginRole
) -> None:
    desk = installed_as(schema, as_whom)
    application_works(desk, root(desk), login_role)


@pytest.mark.parametrize("schema", ["Desk A", pytest.param("desk_a", marks=pytest.mark.long)])
def test_facts_are_those_of_public_but_for_the_schemas_name(
    schema: str, installed_as: InstalledAs, root: Root, template: str, server: Server
) -> None:
    desk = installed_as(schema, AS_SUPERUSER)
    prefix = str(desk.prefix)

    def without_schema(connection: Connection) -> set[tuple[str, ...]]:
        # Bodies of the chain triggers are generated with the schema's name in their settings only.
        return {
            tuple(
                str(part).replace(quote(schema), "public").replace(schema, "public").replace(prefix, "")
                for part in fact
            )
            for fact in facts(connection)
            if fact[1] != "schema" and not names_the_schema(fact)
        }

    assert without_schema(root(desk)) == without_schema(root(Desk(server, template)))


def test_owner_owns_everything_and_the_migrator_nothing(installed_as: InstalledAs, root: Root) -> None:
    desk = installed_as("public", AS_GRANTEE)
    owners = query(
        root(desk),
        "select distinct pg_get_userbyid(o.owner) as owner from ("
        " select relowner from pg_class where relnamespace = 'public'::regnamespace"
        " union all select proowner from pg_proc where pronamespace = 'public'::regnamespace"
        " union all select typowner from pg_type where typnamespace = 'public'::regnamespace) as o(owner)",
    )
    assert owners == [{"owner": f"{desk.prefix}alpha_owner"}]


def test_role_prefix_gives_roles_of_ones_own(installed_as: InstalledAs, root: Root) -> None:
    desk = installed_as("Desk A", AS_SUPERUSER)
    connection, prefix = root(desk), str(desk.prefix)
    roles = query(
        connection,
        "select rolname, rolcanlogin, rolsuper, rolcreaterole from pg_roles where rolname like %s order by 1",
        [prefix.replace("_", r"\_") + "%"],
    )
    assert roles == [
        {"rolname": prefix + role, "rolcanlogin": False, "rolsuper": False, "rolcreaterole": False}
        for role in ("alpha_owner", "app_auditor", "app_risk", "app_trading")
    ]
    grantees = query(
        connection,
        "select distinct (regexp_match(fact, '^grant to (.*)$'))[1] as grantee from guard_facts()"
        " where fact like 'grant to %%' and object_kind <> 'schema' order by 1",
    )
    assert [row["grantee"] for row in grantees] == [
        prefix + role for role in ("app_auditor", "app_risk", "app_trading")
    ]


def nothing_left(connection: Connection, desk: Desk) -> None:
    if one(connection, "select to_regnamespace(%s) is not null", [quote(desk.schema)]):
        assert contents(connection, desk.schema) == []
    assert one(connection, "select count(*) from pg_roles where starts_with(rolname, %s)", [desk.prefix]) == 0


@pytest.mark.parametrize("wrong", ["Desk_", "1_", "desk-", "d k", "a'b", 'a"b', "d" * 41, "é_", "_a"])
def test_refuses_a_bad_role_prefix(wrong: str, empty: Desk, root: Root) -> None:
    desk = replace(empty, prefix=wrong)
    said = desk.refused(MIGRATION["001"])
    assert "alpha.role_prefix" in said
    nothing_left(root(empty), desk)


def test_takes_a_role_prefix_of_40_characters(installed_as: InstalledAs, root: Root) -> None:
    desk = installed_as("Desk A", AS_SUPERUSER)
    assert len(str(desk.prefix)) == 40
    assert_healthy(root(desk))


def test_refuses_a_missing_schema(empty: Desk, root: Root, prefix: str) -> None:
    desk = replace(empty, schema="nowhere", prefix=prefix)
    said = desk.refused(MIGRATION["001"])
    assert "no schema to install into" in said
    assert hint(said)
    nothing_left(root(empty), desk)


@pytest.mark.parametrize("schema", ["pg_catalog", "information_schema"])
def test_refuses_a_system_schema(schema: str, empty: Desk) -> None:
    said = replace(empty, schema=schema).refused(MIGRATION["001"])
    assert f"{schema} is a system schema" in said
    assert hint(said)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_refuses_a_database_that_is_not_utf8(
    encoding: str, server: Server, make_database: Callable[..., str], root: Root, prefix: str
) -> None:
    desk = Desk(server, make_database(options=f"encoding '{encoding}'"), prefix=prefix)
    said = desk.refused(MIGRATION["001"])
    assert f"needs a database in UTF8, this one is {encoding}" in said
    assert "encoding 'UTF8'" in hint(said)
    nothing_left(root(desk), desk)


def test_refuses_a_migrator_without_createrole(
    empty: Desk, root: Root, prefix: str, login_role: LoginRole
) -> None:
    desk = make_desk(empty, "desk_a", prefix, login_role(), AS_SCHEMA_OWNER)
    said = desk.refused(MIGRATION["001"])
    assert f"role {prefix}alpha_owner does not exist" in said
    assert "CREATEROLE" in hint(said)
    nothing_left(root(empty), desk)


def test_needs_no_createrole_where_the_roles_exist_and_the_owner_is_granted(
    empty: Desk, root: Root, prefix: str, login_role: LoginRole
) -> None:
    login = login_role()
    desk = make_desk(empty, "desk_a", prefix, login, AS_SCHEMA_OWNER)
    for role in ROLES:
        root(empty).execute(f"create role {prefix}{role} nologin")
    root(empty).execute(f"grant {prefix}alpha_owner to {login}")
    desk.migrate()
    assert_healthy(root(desk))


@pytest.mark.parametrize("schema", ["public", "Desk A"])
def test_refuses_create_without_grant_option_and_its_hint_helps(
    schema: str, empty: Desk, root: Root, prefix: str, migrator: str
) -> None:
    connection = root(empty)
    if schema != "public":
        connection.execute(f"create schema {quote(schema)}")
    connection.execute(f"grant usage, create on schema {quote(schema)} to {migrator}")
    desk = replace(empty, schema=schema, prefix=prefix, user=migrator)
    said = desk.refused(MIGRATION["001"])
    assert "may not create objects in schema" in said
    nothing_left(connection, desk)

    query(connection, hint(said).removeprefix("As the schema's owner: "))
    desk.migrate(["001"])
    assert changed_guards(root(desk)) == []


def test_refuses_an_owner_role_that_somebody_else_made_and_its_hint_helps(
    empty: Desk, root: Root, prefix: str, migrator: str
) -> None:
    desk = make_desk(empty, "desk_a", prefix, migrator, AS_SCHEMA_OWNER)
    connection = root(empty)
    connection.execute(f"create role {prefix}alpha_owner nologin")
    if empty.server.major >= 16:  # before, CREATEROLE could grant any role
        said = desk.refused(MIGRATION["001"])
        assert "which somebody else created" in said
        assert contents(connection, "desk_a") == []
        assert "alpha.role_prefix" in hint(said)
        query(connection, hint(said).removeprefix("Let an administrator run: ").split(";")[0])
    desk.migrate(["001"])
    assert_healthy(root(desk))


@pytest.mark.parametrize(
    ("schema", "other"),
    [
        ("public", "public"),
        ("Desk A", "Trader Joe"),
        *(
            pytest.param(schema, other, marks=pytest.mark.long)
            for schema, other in [
                ("public", "trader"),
                ("public", "Trader Joe"),
                ("Desk A", "public"),
                ("Desk A", "trader"),
            ]
        ),
    ],
)
def test_refuses_a_schema_where_others_may_create_and_its_hint_helps(
    schema: str, other: str, empty: Desk, root: Root, admin: Connection, prefix: str
) -> None:
    desk = replace(empty, schema=schema, prefix=prefix)
    connection = root(empty)
    if schema != "public":
        connection.execute(f"create schema {quote(schema)}")
    if other != "public":
        admin.execute(f"create role {quote(other)} login")
    try:
        grantee = other if other == "public" else quote(other)
        connection.execute(f"grant create on schema {quote(schema)} to {grantee}")
        said = desk.refused(MIGRATION["001"])
        assert "may create objects" in said
        nothing_left(connection, desk)
        query(connection, hint(said))
        desk.migrate(["001"])
        assert changed_guards(root(desk)) == []
    finally:
        if other != "public":
            connection.execute(f"drop owned by {quote(other)}")
            admin.execute(f"drop role {quote(other)}")


LEFT_BEHIND = {
    "function": "create function {schema}.format(text, variadic text[]) returns text language sql return $1",
    "operator": "create operator {schema}.= (leftarg = bigint, rightarg = bigint, function = int8eq)",
}


@pytest.mark.parametrize("made", LEFT_BEHIND.values(), ids=list(LEFT_BEHIND))
@pytest.mark.parametrize("schema", ["public", "Desk A"])
def test_refuses_a_schema_with_functions_that_others_left_there(
    schema: str, made: str, empty: Desk, root: Root, prefix: str, login_role: LoginRole
) -> None:
    """Taking CREATE away afterwards does not take away what stands beside ours on every path."""
    connection = root(empty)
    if schema != "public":
        connection.execute(f"create schema {quote(schema)}")
    stranger = login_role()
    connection.execute(f"grant usage, create on schema {quote(schema)} to {stranger}")
    with empty.connect(stranger) as his:
        his.execute(made.format(schema=quote(schema)))
    connection.execute(f"revoke create on schema {quote(schema)} from {stranger}")
    before = contents(root(replace(empty, schema="pg_catalog")), schema)
    desk = replace(empty, schema=schema, prefix=prefix)
    said = desk.refused(MIGRATION["001"])
    assert "of others" in said
    assert hint(said)
    assert contents(root(replace(empty, schema="pg_catalog")), schema) == before


def test_second_file_without_the_first_is_refused(empty: Desk, root: Root) -> None:
    for number in list(MIGRATION)[1:]:
        assert "alpha-db is not installed in schema public" in empty.refused(MIGRATION[number])
    assert contents(root(empty), "public") == []


@pytest.mark.parametrize("of_table", ["its owner", "another"])
@pytest.mark.parametrize("file", [MIGRATION["002"], ROLLBACK["002"]])
def test_only_an_owner_of_the_right_name_makes_an_installation(
    file: Path, of_table: str, empty: Desk, root: Root, prefix: str
) -> None:
    """In LIKE '%alpha_owner' the _ would stand for any character; and the table belongs to the functions' owner."""
    connection = root(empty)
    owner = f"{prefix}alpha{'-' if of_table == 'its owner' else '_'}owner"
    others = owner if of_table == "its owner" else "postgres"
    connection.execute(f"create role {quote(owner)}")
    try:
        connection.execute(
            f"create schema desk_a; create table desk_a.installed_migrations ();"
            f"alter table desk_a.installed_migrations owner to {quote(others)}"
        )
        for name in ("_begin_migration", "_begin_rollback"):
            connection.execute(
                f"create function desk_a.{name}(text) returns boolean language plpgsql as"
                f" 'begin raise exception ''taken for ours''; end';"
                f"alter function desk_a.{name} owner to {quote(owner)}"
            )
        assert "alpha-db is not installed in schema desk_a" in replace(empty, schema="desk_a").refused(file)
    finally:
        connection.execute(f"drop schema if exists desk_a cascade; drop role {quote(owner)}")


def test_second_file_into_another_schema_than_the_first_is_refused(installed: Desk, root: Root) -> None:
    """On a path "desk_b", public the functions of public are found, but nothing may land in desk_b."""
    connection = root(installed)
    connection.execute("create schema desk_b")
    for number in list(MIGRATION)[1:]:
        run = installed.server.psql(
            installed.dbname,
            "-1",
            "-f",
            MIGRATION[number],
            check=False,
            environment={"PGOPTIONS": "-c search_path=desk_b,public"},
        )
        assert run.returncode == 3
        assert "alpha-db is not installed in schema desk_b, which is first on search_path" in run.stderr
    assert contents(connection, "desk_b") == []


def test_search_path_of_the_role_says_where(
    empty: Desk, root: Root, server: Server, prefix: str, login_role: LoginRole
) -> None:
    """ "$user" first, as PostgreSQL has it by default. All files go by a default path in test_search_path.py."""
    login = login_role(attributes="createrole")
    root(empty).execute(f"create schema authorization {login}")
    server.psql(
        empty.dbname,
        *(argument for number in ("001", "002", "003") for argument in ("-f", MIGRATION[number])),
        user=login,
        environment={"PGOPTIONS": f"-c alpha.role_prefix={prefix}"},
    )
    desk = replace(empty, schema=login)
    assert_healthy(root(desk))
    assert contents(root(empty), "public") == []


def test_migrator_keeps_role_and_search_path(empty: Desk, root: Root, prefix: str, migrator: str) -> None:
    """What a migration sets for itself must not outlive it, also within one transaction."""
    desk = make_desk(empty, "Desk A", prefix, migrator, AS_GRANTEE)
    with psycopg.connect(empty.server.dsn(empty.dbname, migrator)) as connection:
        connection.execute("select set_config('search_path', '\"Desk A\", pg_catalog', false)")
        connection.execute(f"set alpha.role_prefix = '{prefix}'")
        for _ in range(2):
            for file in MIGRATION.values():
                connection.execute(file.read_text(encoding="utf-8").encode())
                now = query(
                    connection, "select current_user::text, current_setting('search_path') as path,"
                    " current_setting('alpha.maintenance', true) as maintenance"
                )  # fmt: skip
                assert now[0]["current_user"] == migrator
                assert now[0]["path"] == '"Desk A", pg_catalog'
                assert not now[0]["maintenance"]
    assert_healthy(root(desk))
