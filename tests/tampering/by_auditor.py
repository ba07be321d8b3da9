"""What a login in app_auditor tries."""

from __future__ import annotations

from tests.support import Connection, one, query, tamper, verdicts
from tests.tampering.catalogue import Section
from tests.tampering.outcomes import chain, command, harmless, in_vain, refused, shown, told
from tests.tampering.stage import Stage

auditor = Section(
    "auditor", "Auditor", "A login in `app_auditor`: it may read everything and verify.", "auditor"
)
sql, does = auditor.sql, auditor.does

DENIED = refused("42501")

sql(
    "inserts",
    "Writes a signal by INSERT",
    "insert into signals (signal_id, symbol, side, price, quantity, raw_payload) values ('x', 'B', 'BUY', 1, 1, '{}')",
    DENIED,
)
sql(
    "records",
    "Writes a signal by the stored function",
    "select record_signal('x', 'B', 'BUY', 1, 1, '{}')",
    DENIED,
)
sql("updates", "Changes a row", "update order_events set event_type = 'EXPIRED' where id = 1", DENIED)
sql(
    "forgets-a-run",
    "Removes a verification run that it does not like",
    "delete from verification_runs",
    DENIED,
)
sql("accepts-guards", "Accepts changed guards", "select record_guards('x')", DENIED)
sql(
    "forges-guards",
    "Writes a state of the guards of its own",
    "insert into guard_states (reason, facts, state_hash) values ('x', '[]', 'x')",
    DENIED,
)
sql(
    "forges-a-node",
    "Writes a false inner node of a Merkle tree",
    "insert into log_nodes values ('signals', 8, 0, sha256(''), sha256(''))",
    DENIED,
)
sql(
    "engages-the-lockdown",
    "Engages the lockdown without damage",
    "select _engage_lockdown('x', '[]')",
    DENIED,
)
sql(
    "releases-the-lockdown",
    "Lifts the lockdown by a row of its own",
    "insert into lockdown_events (event_type, reason, damage) values ('RELEASED', 'x', '[]')",
    DENIED,
    begins="locked",
)
sql("extends-a-chain", "Registers a column that is not hashed", "select chain_extend('signals')", DENIED)
sql(
    "makes-a-chain-trigger",
    "Replaces a chain's trigger function",
    "select _chain_generate('signals')",
    DENIED,
)
sql(
    "proposes",
    "Proposes a change of limits",
    "select propose(null, null, null, null, null, null, null)",
    DENIED,
)
sql("becomes-the-owner", "Becomes `alpha_owner`", "set role alpha_owner", DENIED)
sql(
    "remembers-a-row-that-is-not-there",
    "Records a run that read rows that are not there",
    """select record_verification(true, '{"signals": 999}', 999)""",
    refused("22023"),
)
sql(
    "skips-turns",
    "Records the last turn of a sweep, as if all rows had been read",
    "select record_verification(false, '{}', 0, 2147483647, 2147483646)",
    refused("22023"),
)
sql(
    "verifies-nonsense",
    "Hands in a checkpoint whose root is no hash",
    "select verify_checkpoint('signals', 5, 'short')",
    refused("22023"),
)
sql(
    "verifies-a-backward-range",
    "Verifies a range that ends before it begins",
    "select verify_chain_integrity('signals', 5, 1)",
    refused("22023"),
)

REMEMBERED = (
    "select record_verification(true, (select jsonb_object_agg(table_name, last_id) from chain_status()"
    " where last_id is not null), 1)"
)


def _cut(stage: Stage) -> None:
    tamper(stage.db, "delete from order_events where id > 2")


@does(
    "Records a run over a tail that was cut, to make the cut forgotten",
    refused("22023"),
    chain("order_events", "tail_missing"),
    prepare=REMEMBERED,
)
def records_over_a_cut(stage: Stage) -> None:
    _cut(stage)
    query(stage.me, "select record_verification(true, '{\"order_events\": 2}', 2)")


@does(
    "Records run after run, so that a checkpoint covers something that is not so",
    harmless(
        "each names the heads as they are",
        "select count(*) = 3 and bool_and((heads -> 'signals' ->> 'size')::bigint = (select count(*) from signals))"
        " from checkpoint_runs",
    ),
)
def records_runs(stage: Stage) -> None:
    for _ in range(3):
        query(stage.me, "select record_checkpoint_run()")


@does(
    "Records a run that names no table, to make what is remembered forgotten",
    harmless(
        "what is remembered stays",
        "select count(*) = 1 from _verified_heads() where table_name = 'order_events' and last_id = 4",
    ),
    prepare=REMEMBERED,
)
def forgets(stage: Stage) -> None:
    query(stage.me, "select record_verification(true, '{}', 0)")


@does(
    "Says that a run read everything, though nothing was read",
    told(
        "`verification_runs`",
        "who recorded it; the word is believed by `--since-last`, and a run without it reads everything",
        "select count(*) = 1 from verification_runs where recorded_by = 'tamper_auditor' and is_full",
    ),
    chain("signals", "content_mismatch"),
)
def says_that_it_read_everything(stage: Stage) -> None:
    tamper(stage.db, "update signals set price = 1 where id = 2")
    query(stage.me, REMEMBERED)


def _names_the_auditor(stage: Stage) -> None:
    assert stage.locked(), "a false root can only tighten"
    event = query(stage.db, "select recorded_by, damage from lockdown_events order by id desc limit 1")[0]
    assert event["recorded_by"] == "tamper_auditor"
    assert event["damage"][0]["table"] == "signals"


@does(
    "Hands in a false root, so that the lockdown stops trading",
    shown(
        "`lockdown_events`", "which login engaged it, and over what; no row is damaged", _names_the_auditor
    ),
)
def hands_in_a_false_root(stage: Stage) -> None:
    query(stage.me, "select verify_checkpoint('signals', 5, sha256('false'))")


def _says_so(stage: Stage) -> None:
    said = verdicts(stage.me, table_name="signals")["signals"]
    assert (said.verdict, said.error_code) == ("content_mismatch", "AUD-009")
    assert "NOT engaged" in said.detail
    stage.me.execute("reset default_transaction_read_only")
    assert not stage.locked()


@does(
    "Verifies in a read-only transaction, so that damage is not acted upon",
    shown("the verdict itself", "`content_mismatch`, and that the lockdown is NOT engaged", _says_so),
    chain("signals", "content_mismatch"),
)
def verifies_read_only(stage: Stage) -> None:
    tamper(stage.db, "update signals set price = 1 where id = 2")
    stage.me.execute("set default_transaction_read_only = on")


@does(
    "Asks not to engage the lockdown over damage that it found",
    chain("signals", "content_mismatch"),
)
def asks_not_to_lock(stage: Stage) -> None:
    tamper(stage.db, "update signals set price = 1 where id = 2")
    said = verdicts(stage.me, table_name="signals", engage_lockdown=False)["signals"]
    assert said.error_code == "AUD-009"
    assert one(stage.db, "select is_locked from lockdown_status()") is False


# ----------------------------------------------------------------------------------------------------
# Holding open what it may call

FALSE_ROOT = "select verify_checkpoint('signals', 5, sha256('false'))"


def _held(stage: Stage, statement: str) -> Connection:
    """A session of the attacker that called something and does not end its transaction."""
    holder = stage.session("auditor", autocommit=False)
    query(holder, statement)
    stage.notes["holder"] = holder
    return holder


@does(
    "Leaves a verification open that engages the lockdown over nothing, so that no other can record its event",
    chain("ai_debates", "content_mismatch"),
    in_vain("the lockdown is engaged without its event, and stays so", lambda stage: _stays_locked(stage)),
)
def holds_the_lockdown_open(stage: Stage) -> None:
    stage.damage("ai_debates")
    _held(stage, FALSE_ROOT)


def _stays_locked(stage: Stage) -> None:
    stage.notes["holder"].rollback()
    assert stage.locked()
    verdicts(stage.db)
    events = query(stage.db, "select damage from lockdown_events where event_type = 'ENGAGED'")
    assert any(item["table"] == "ai_debates" for event in events for item in event["damage"]), events


@does(
    "Engages the lockdown by a false root and rolls back, to leave no trace",
    shown("`lockdown_status()`", "still engaged, and by whose alarm", lambda stage: _is_named(stage)),
)
def rolls_the_lockdown_back(stage: Stage) -> None:
    _held(stage, FALSE_ROOT).rollback()


def _is_named(stage: Stage) -> None:
    status = query(stage.db, "select is_locked, reason from lockdown_status()")[0]
    assert status["is_locked"]
    assert "tamper_auditor" in status["reason"]
    verdicts(stage.db)
    event = query(stage.db, "select reason from lockdown_events order by id desc limit 1")[0]
    assert "tamper_auditor" in event["reason"]


@does(
    "Leaves `record_verification` open, so that other verifications wait for ever",
    command("verify-chain --since-last --lock-timeout 0.2", 3, "and who holds the lock", "tamper_auditor"),
)
def holds_the_memory(stage: Stage) -> None:
    _held(stage, REMEMBERED)
