"""What the owner of a tracked table tries, and others who may change it."""

from __future__ import annotations

from tests.support import one
from tests.tampering.catalogue import Section
from tests.tampering.outcomes import chain, harmless, history, refused
from tests.tampering.stage import Stage

table_owner = Section(
    "table-owner",
    "Owner of a tracked table",
    "A login that owns a table whose history alpha-db keeps (`track_table`), and is no member of `alpha_owner`. Where"
    " the row says so, somebody with more rights.",
    "stranger",
)

TRACKED = (
    "create schema held authorization tamper_stranger",
    "create table held.positions (id integer primary key, quantity numeric, pin text);"
    " insert into held.positions values (1, 1.50, '4711'), (2, 20, null)",
    "select track_table('held.positions', '{pin}')",
    "alter table held.positions owner to tamper_stranger",
)
OFF = "alter table held.positions disable trigger _000_alpha_history"
ON = "alter table held.positions enable always trigger _000_alpha_history"
EDIT = "update held.positions set quantity = 1000000 where id = 1"
REPLICA = "set session_replication_role = replica"
FORGED = (
    "insert into table_changes (table_name, operation, key, old_row, new_row, changed_columns, acting_role,"
    " application_name, transaction_id) values ('held.positions', 'UPDATE', '{\"id\": \"1\"}',"
    ' \'{"id": "1", "quantity": "1.50"}\', \'{"id": "1", "quantity": "7"}\', \'{quantity}\', \'clerk\', \'\', 1)'
)


def _sql(name: str, what: str, statements: list[str], *outcomes: object, login: str | None = None) -> None:
    table_owner.sql(name, what, statements, *outcomes, login=login, prepare=TRACKED)  # type: ignore[arg-type]


_sql(
    "edits-a-row",
    "Changes a row with the trigger off, and puts it on again",
    [OFF, EDIT, ON],
    history("changed_row"),
)
_sql(
    "adds-a-row",
    "Adds a row with the trigger off, and puts it on again",
    [OFF, "insert into held.positions values (3, 1)", ON],
    history("extra_row"),
)
_sql(
    "removes-a-row",
    "Removes a row with the trigger off, and puts it on again",
    [OFF, "delete from held.positions where id = 2", ON],
    history("missing_row"),
)
_sql(
    "covers-an-edit",
    "Changes a row with the trigger off, puts it on, and changes the row back",
    [OFF, EDIT, ON, "update held.positions set quantity = 1.50 where id = 1"],
    history("unrecorded_change"),
)
_sql("leaves-a-trigger-off", "Leaves the trigger off", [OFF], history("trigger_changed"))
_sql(
    "drops-a-trigger",
    "Drops the trigger",
    ["drop trigger _000_alpha_history on held.positions"],
    history("trigger_changed"),
)
_sql(
    "empties-the-table",
    "Empties the table with the trigger of TRUNCATE off",
    [
        "alter table held.positions disable trigger _000_alpha_history_truncate",
        "truncate held.positions",
        "alter table held.positions enable always trigger _000_alpha_history_truncate",
    ],
    history("missing_row"),
)
_sql(
    "puts-another-table-there",
    "Renames the table, and puts another one under its name",
    ["alter table held.positions rename to hidden", "create table held.positions (id integer primary key)"],
    history("trigger_changed"),
)
_sql("drops-the-table", "Drops the table", ["drop table held.positions"], history("table_gone"))
_sql(
    "writes-a-renamed-table",
    "Renames the table, and changes it",
    ["alter table held.positions rename to hidden", "update held.hidden set quantity = 7"],
    refused("AUD-015"),
)
_sql("ends-the-history", "Ends the history", ["select untrack_table('held.positions')"], refused("42501"))
_sql(
    "attaches-the-trigger",
    "Attaches the history's trigger to another table, to write the history of the first",
    [
        "create table held.other (id integer primary key, quantity numeric, pin text)",
        "do $$ begin execute format('create trigger t after insert on held.other for each row execute function"
        " public.%I()', '_history_' || left(encode(sha256('held.positions'), 'hex'), 16)); end $$",
    ],
    refused("42501"),
)
_sql("writes-an-entry", "Writes an entry of the history", [FORGED], refused("42501"))
_sql(
    "owner-writes-an-entry",
    "As `alpha_owner`: writes an entry that was no change",
    [FORGED],
    history("changed_row"),
    login="owner",
)
_sql(
    "owner-edits-an-entry",
    "As `alpha_owner`: changes an entry",
    ["update table_changes set new_row = '{}'"],
    refused("AUD-013"),
    login="owner",
)
_sql(
    "owner-removes-entries",
    "As `alpha_owner`: removes entries",
    ["delete from table_changes"],
    refused("AUD-014"),
    login="owner",
)
_sql(
    "superuser-is-a-replica",
    "As a superuser: changes a row in replica mode",
    [REPLICA, EDIT],
    refused("AUD-015"),
    login="superuser",
)


@table_owner.does(
    "As a superuser: changes a row, and the entry of the history that says otherwise",
    chain("table_changes", "content_mismatch"),
    login="superuser",
    prepare=TRACKED,
)
def edits_row_and_entry(stage: Stage) -> None:
    for statement in (OFF, EDIT, ON, "alter table table_changes disable trigger user"):
        stage.me.execute(statement)
    stage.me.execute(
        "update table_changes set new_row = jsonb_set(new_row, '{quantity}', '\"1000000\"') where key ->> 'id' = '1'"
    )
    for trigger, always in (
        ("_050_owner_only", ""),
        ("_100_reject_change", "always"),
        ("_200_reject_truncate", "always"),
        ("zzz_chain", ""),
    ):
        stage.me.execute(f"alter table table_changes enable {always} trigger {trigger}")


@table_owner.does(
    "Makes a cast that the history would call with the rights of `alpha_owner`",
    harmless("it is never called", "select count(*) = 0 from held.seen"),
    prepare=TRACKED,
)
def makes_a_cast(stage: Stage) -> None:
    """Values are printed by the output functions of their types."""
    for statement in (
        "create table held.seen (who text)",
        "grant all on schema held to public",
        "grant all on held.seen to public",
        "create type held.mood as enum ('good', 'bad')",
        "create function held.trap(held.mood) returns text language plpgsql as"
        " $$begin insert into held.seen values (current_user); return 'x'; end$$",
        "create cast (held.mood as text) with function held.trap(held.mood) as assignment",
        "alter table held.positions add column mood held.mood",
        "update held.positions set mood = 'bad'",
    ):
        stage.me.execute(statement)
    assert one(stage.db, "select new_row ->> 'mood' from table_changes order by id desc limit 1") == "bad"
