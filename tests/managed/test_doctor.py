"""What doctor says of each provider's server."""

from __future__ import annotations

from alpha_db.connection import connect
from alpha_db.doctor import Check, examine
from tests.checkpoint.book import run
from tests.managed.provider import ADMIN, Provider
from tests.support import ROOT, Connection, query

PAGE = ROOT / "docs" / "managed.md"

#: Who is said to run it, and which protections are weaker than on a server of one's own. The tests' servers do without
#: fsync, so durability is among them.
EVERYWHERE = {"superusers", "DDL guard", "powers", "durability"}
LOST = {
    "rds": ("Amazon RDS or Aurora", EVERYWHERE | {"replication role"}),
    "cloud_sql": ("Google Cloud SQL", EVERYWHERE | {"schema owners"}),
    "supabase": ("Supabase", EVERYWHERE | {"event triggers", "default rights"}),
    "neon": ("Neon", EVERYWHERE),
    "azure": ("Azure", EVERYWHERE | {"replication role"}),
}


def checks(provider: Provider, user: str = ADMIN) -> dict[str, Check]:
    with connect(provider.server.dsn(provider.dbname, user), schema=provider.schema) as conn:
        return {check.name: check for check in examine(conn)}


def of_state(found: dict[str, Check], *states: str) -> set[str]:
    return {name for name, check in found.items() if check.state in states}


def test_before_the_migrations(bare: Provider) -> None:
    found = checks(bare)
    name, lost = LOST[bare.name]
    assert found["provider"].found == name
    assert f"\n| {name} | " in PAGE.read_text(encoding="utf-8")
    assert found["installed"].found == "not yet"
    assert of_state(found, "lost") == lost
    assert of_state(found, "set", "stop") == ({"others create"} if bare.name == "azure" else set())


def test_after_the_migrations(book: Provider) -> None:
    found = checks(book)
    assert found["installed"].found == "yes, it belongs to alpha_owner"
    assert of_state(found, "lost") == LOST[book.name][1] - {"schema owners"}, "Cloud SQL's has its own schema"
    assert of_state(found, "set", "stop") == set()
    run("--dsn", book.dsn(), "doctor")


def test_what_it_says_to_set_helps(bare: Provider) -> None:
    with bare.copy("open_to_all") as provider:
        with provider.root() as root:
            query(root, "grant create on schema public to public")
        refused = checks(provider)["others create"]
        assert refused.state == "set"
        with provider.connect() as admin:
            query(admin, str(refused.remedy))
        assert checks(provider)["others create"].state == "ok"


def test_row_level_security_on_our_tables_must_be_switched_off(book: Provider, root: Connection) -> None:
    query(root, "alter table signals enable row level security")
    found = checks(book, "auditor")["row security"]
    assert (found.state, found.found) == ("set", "on for 1 of our tables, such as signals")
    run("--dsn", book.dsn("auditor"), "doctor", expect=1)
