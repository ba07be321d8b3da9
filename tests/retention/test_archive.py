"""Rows leave by consensus: what must hold before, while and after."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.fix_database import Prepared
from tests.merkle.logs import consistencies, damage, forge, inclusions, seal
from tests.retention.shelf import FIRST_YEAR, Shelf
from tests.risk.conftest import named
from tests.support import Connection, assert_healthy, changed_guards, one, query, tamper, verdicts


def _prune(connection: Connection) -> None:
    Shelf(connection, named(connection)).leave(FIRST_YEAR)


@pytest.fixture
def origin(request: pytest.FixtureRequest, prepared: Prepared, origin: str) -> str:
    return prepared("retention_pruned", _prune, origin) if "pruned" in request.fixturenames else origin


@pytest.fixture
def pruned(shelf: Shelf) -> Shelf:
    """The same, after the rows of the first year left."""
    return shelf


def refused(shelf: Shelf, payload: dict[str, Any], kind: str = "archive") -> str:
    """The message of the proposal's refusal."""
    with pytest.raises(psycopg.Error) as caught:
        shelf.council.propose(kind, payload, "ada")
    return str(caught.value.diag.message_primary)


def test_plan_goes_in_whole_blocks_and_keeps_what_is_referred_to(shelf: Shelf) -> None:
    none = {"risk_decisions": None, "table_changes": None}
    wide = dict.fromkeys(("webhook_deliveries", "signals", "ai_debates"), 1024)
    assert shelf.plan() == wide | {"order_execution": 512, "order_events": 512} | none
    shelf.hold("order_events", 300)
    narrow = {"order_events": 256, "order_execution": 256, "signals": 512, "webhook_deliveries": 512}
    assert shelf.plan() == wide | narrow | none


def test_everything_verifies_after_rows_left(pruned: Shelf) -> None:
    shelf = pruned
    proposal = one(shelf.connection, "select proposal_id from archived_segments where table_name = 'signals'")
    assert shelf.first_ids(FIRST_YEAR) == {table: end + 1 for table, end in FIRST_YEAR.items()}
    assert_healthy(shelf.connection)
    detail = verdicts(shelf.connection)["signals"].detail
    assert detail == f"588 rows; rows 1 to 512 archived by proposal {proposal}"
    assert changed_guards(shelf.connection) == []


@pytest.mark.parametrize("sealed", [True, False])
def test_roots_and_proofs_of_what_stays_are_what_they_were(shelf: Shelf, sealed: bool) -> None:
    if sealed:
        seal(shelf.connection)
    sizes = [512, 513, 700, 768, 1100]
    wanted = [(index, size) for size in sizes for index in (512, 600, size - 1) if 512 <= index < size]
    pairs = [(size1, size2) for size1 in sizes for size2 in sizes if size1 <= size2]

    def all_of_it() -> Any:
        roots = [one(shelf.connection, "select log_root('signals', %s)", [size]) for size in sizes]
        rest = (
            inclusions(shelf.connection, "signals", wanted),
            consistencies(shelf.connection, "signals", pairs),
        )
        proven = query(shelf.connection, "select * from row_to_prove('signals', 513, 1100)")
        return roots, rest, proven

    before = all_of_it()
    shelf.leave(FIRST_YEAR)
    assert all_of_it() == before
    assert damage(shelf.connection, "signals") == []


def test_a_checkpoint_from_before_compares(shelf: Shelf) -> None:
    root = one(shelf.connection, "select log_root('signals', 700)")
    early = one(shelf.connection, "select log_root('signals', 256)")
    shelf.leave(FIRST_YEAR)
    verify = "select verdict from verify_checkpoint('signals', %s, %s)"
    assert one(shelf.connection, verify, [700, root]) == "intact"
    assert one(shelf.connection, verify, [256, early]) == "intact"
    assert one(shelf.connection, verify, [100, early]) == "archived"
    assert one(shelf.connection, verify, [700, early]) == "checkpoint_mismatch"


def test_runs_since_the_last_one_go_on(shelf: Shelf) -> None:
    record = "select record_verification(true, (select jsonb_object_agg(table_name, last_id) from chain_status()), 1)"
    query(shelf.connection, record)
    shelf.leave(FIRST_YEAR)
    plan = query(shelf.connection, "select * from verification_plan(true, 3)")
    for part in plan:
        verdict = one(
            shelf.connection,
            "select verdict from verify_range(%s, %s, %s)",
            [part["table_name"], part["from_id"], part["to_id"]],
        )
        assert verdict == "intact", part
    assert min(part["from_id"] for part in plan if part["table_name"] == "signals") > 512
    query(shelf.connection, record)


def test_an_edit_of_a_row_that_stays_is_found(pruned: Shelf) -> None:
    tamper(pruned.connection, "update signals set symbol = 'ETHUSD' where id = 513")
    assert verdicts(pruned.connection, engage_lockdown=False)["signals"].broken_id == 513


def test_a_row_cut_behind_the_segment_is_missing(pruned: Shelf) -> None:
    tamper(pruned.connection, "delete from ai_debates where id <= 600")
    found = verdicts(pruned.connection, engage_lockdown=False)["ai_debates"]
    assert (found.verdict, found.broken_id) == ("missing_rows", 513)


def test_a_prefix_cut_by_hand_is_damage_and_lockdown(shelf: Shelf) -> None:
    tamper(shelf.connection, "delete from order_events where id <= 256")
    found = verdicts(shelf.connection)["order_events"]
    assert (found.verdict, found.broken_id) == ("missing_rows", 1)
    assert one(shelf.connection, "select is_locked from lockdown_status()")


def forge_start(connection: Connection, with_segment: bool) -> None:
    """What retention would leave behind, made by force without an approval."""
    with connection.transaction():
        query(connection, "set local session_replication_role = replica")
        if with_segment:
            query(
                connection,
                "insert into archived_segments (id, table_name, first_id, through_id, last_hash, last_created_at, root,"
                " segment_sha256, proposal_id, row_hash, created_at, recorded_by)"
                " select 1, 'order_events', 1, 256, row_hash, created_at, repeat('0', 64), repeat('0', 64),"
                " gen_random_uuid(), repeat('0', 64), now(), 'x' from order_events where id = 256",
            )
        query(
            connection,
            "insert into chain_starts select 'order_events', id, row_hash, created_at from order_events where id = 256",
        )
    tamper(connection, "delete from order_events where id <= 256")


@pytest.mark.parametrize("with_segment", [True, False])
def test_a_forged_start_is_damage(shelf: Shelf, with_segment: bool) -> None:
    root = one(shelf.connection, "select log_root('order_events', 500)")
    seal(shelf.connection)
    forge_start(shelf.connection, with_segment)
    found = verdicts(shelf.connection)["order_events"]
    assert (found.verdict, found.broken_id, found.error_code) == ("missing_rows", 1, "AUD-009")
    assert one(shelf.connection, "select is_locked from lockdown_status()")
    verify = "select verdict from verify_checkpoint('order_events', 500, %s)"
    assert one(shelf.connection, verify, [root]) == "missing_rows"


def test_one_table_may_go_without_a_list(shelf: Shelf) -> None:
    shelf.council.enact("archive", shelf.segment("order_events", 256), "ada", "ben", "cyd")
    shelf.prune("order_events")
    assert_healthy(shelf.connection)


def test_a_second_segment_follows_the_first(shelf: Shelf) -> None:
    shelf.leave({"order_events": 256})
    proposal = shelf.leave({"order_events": 512})
    rows = query(shelf.connection, "select first_id, through_id from archived_segments order by id")
    assert rows == [{"first_id": 1, "through_id": 256}, {"first_id": 257, "through_id": 512}]
    assert str(proposal) in verdicts(shelf.connection)["order_events"].detail
    assert_healthy(shelf.connection)


def test_an_interrupted_pruning_verifies_and_goes_on(shelf: Shelf) -> None:
    shelf.archive({"ai_debates": 1024})
    query(shelf.connection, "select _prune_batch('ai_debates', 300)")
    assert shelf.first_ids(["ai_debates"]) == {"ai_debates": 257}
    assert_healthy(shelf.connection)
    shelf.prune("ai_debates", batch=512)
    assert shelf.first_ids(["ai_debates"]) == {"ai_debates": 1025}
    shelf.prune("ai_debates")
    assert_healthy(shelf.connection)


def test_pruning_says_what_went(shelf: Shelf) -> None:
    shelf.archive({"ai_debates": 512})
    result = query(shelf.connection, "call prune_archived('ai_debates')")[0]["result"]
    assert result == {"table": "ai_debates", "deleted": 512, "start_id": 512, "through_id": 512}


def test_writers_go_on_after_rows_left(pruned: Shelf) -> None:
    query(
        pruned.connection,
        "insert into signals (signal_id, symbol, side, price, quantity, raw_payload)"
        " values ('new', 'BTCUSD', 'BUY', 1, 1, '{}')",
    )
    assert one(pruned.connection, "select max(id) from signals") == 1101
    assert_healthy(pruned.connection)


# What is refused


BAD: dict[str, dict[str, Any]] = {
    "hash of another row": {"row_hash": "00" * 32},
    "another root": {"root": "00" * 32},
    "not the end of a block": {"through_id": 500},
    "beyond the tail": {"through_id": 256000},
    "no segment": {"segment_sha256": "no"},
    "a table of alpha-db": {"table": "votes"},
    "no table": {"table": "nowhere"},
    "an unknown member": {"more": 1},
    "a text for a number": {"through_id": "256"},
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_segment_is_refused(shelf: Shelf, case: str) -> None:
    message = refused(shelf, shelf.segment("order_events", 256) | BAD[case])
    assert message.startswith(("AUD-016", "RSK-001"))
    assert query(shelf.connection, "select 1 from proposals") == []


def test_the_last_row_stays(shelf: Shelf) -> None:
    query(
        shelf.connection,
        "insert into order_events (event_type, zar_equity, positions_closed)"
        " select 'KILL_SWITCH', 1, '[]' from generate_series(1, 768 - 550)",
    )
    assert "the last row of order_events must stay" in refused(shelf, shelf.segment("order_events", 768))


def test_rows_that_are_referred_to_stay(shelf: Shelf) -> None:
    message = refused(shelf, {"segments": [shelf.segment(table, 512) for table in ("signals", "ai_debates")]})
    assert message == "AUD-016: row 2 of signals is still referred to by order_execution"


def test_a_table_stands_once(shelf: Shelf) -> None:
    twice = [shelf.segment("order_events", end) for end in (256, 512)]
    assert "stands twice" in refused(shelf, {"segments": twice})


def test_what_is_archived_is_not_archived_again(shelf: Shelf) -> None:
    shelf.archive({"order_events": 256})
    assert "are archived already" in refused(shelf, shelf.segment("order_events", 256))


def test_nothing_leaves_in_a_lockdown(shelf: Shelf) -> None:
    shelf.archive({"order_events": 256})
    hold = shelf.hold("order_events", 1)
    query(shelf.connection, "select _engage_lockdown('a test', '[]')")
    assert refused(shelf, shelf.segment("ai_debates", 256)).startswith("AUD-009")
    assert refused(shelf, {"hold": str(hold)}, "unhold").startswith("AUD-009")
    with pytest.raises(psycopg.Error, match="AUD-016: in a lockdown"):
        shelf.prune("order_events")


def test_two_approvals_are_needed(shelf: Shelf) -> None:
    assert shelf.council.needed("archive", shelf.segment("order_events", 256), "ada") == 2
    assert shelf.council.needed("hold", {"table": "signals", "from_id": 1}, "ada") == 1


def test_nothing_is_removed_without_approval(shelf: Shelf) -> None:
    shelf.council.propose("archive", shelf.segment("order_events", 256), "ada")
    with pytest.raises(
        psycopg.Error, match="AUD-016: no proposal to archive rows of order_events was approved"
    ):
        shelf.prune("order_events")


def test_what_refers_goes_first(shelf: Shelf) -> None:
    shelf.archive(FIRST_YEAR)
    with pytest.raises(psycopg.Error, match="AUD-016: row 1 of signals is still referred to by ai_debates"):
        shelf.prune("signals")


def test_a_batch_is_a_block_or_more(shelf: Shelf) -> None:
    shelf.archive({"order_events": 256})
    for batch in (0, 255, 65537, None):
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            query(shelf.connection, "call prune_archived('order_events', %s)", [batch])


def test_the_owner_deletes_nothing_by_hand(shelf: Shelf) -> None:
    shelf.archive({"order_events": 256})
    with pytest.raises(psycopg.Error, match="AUD-007"):
        query(shelf.connection, "delete from order_events where id = 1")


def test_no_start_is_written_by_hand(shelf: Shelf) -> None:
    query(shelf.connection, "set role alpha_owner")
    with pytest.raises(psycopg.Error, match="AUD-011"):
        query(
            shelf.connection,
            "insert into chain_starts select 'order_events', id, row_hash, created_at from order_events where id = 256",
        )


def test_no_segment_is_written_by_hand(shelf: Shelf) -> None:
    query(shelf.connection, "set role alpha_owner")
    with pytest.raises(psycopg.Error, match="RSK-002"):
        query(
            shelf.connection,
            "insert into archived_segments (table_name, first_id, through_id, last_hash, last_created_at, root,"
            " segment_sha256, proposal_id) select 'order_events', 1, 256, row_hash, created_at, row_hash, row_hash,"
            " gen_random_uuid() from order_events where id = 256",
        )


def test_a_date_that_has_not_come_is_refused(shelf: Shelf) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="has not come"):
        shelf.plan("now() + interval '1 day'")


# Legal holds


def test_a_hold_keeps_rows_from_the_plan(shelf: Shelf) -> None:
    hold = shelf.hold("ai_debates", 300)
    assert shelf.plan()["ai_debates"] == 256
    assert "AUD-016: ai_debates is on legal hold from row 300 on" in refused(
        shelf, shelf.segment("ai_debates", 512)
    )
    shelf.unhold(hold)
    assert shelf.plan()["ai_debates"] == 1024


def test_a_hold_stops_rows_that_were_archived_before(shelf: Shelf) -> None:
    shelf.archive({"ai_debates": 1024})
    shelf.hold("ai_debates", 300)
    with pytest.raises(psycopg.Error, match="AUD-016: ai_debates is on legal hold from row 300 on"):
        shelf.prune("ai_debates")
    assert shelf.first_ids(["ai_debates"]) == {"ai_debates": 257}
    assert_healthy(shelf.connection)


def test_holds_say_why(shelf: Shelf) -> None:
    hold = shelf.hold("signals", 7)
    rows = query(shelf.connection, "select table_name, from_id, proposal_id, reason from legal_holds()")
    assert rows == [{"table_name": "signals", "from_id": 7, "proposal_id": hold, "reason": "because"}]
    shelf.unhold(hold)
    assert query(shelf.connection, "select * from legal_holds()") == []


def test_only_a_hold_that_stands_can_end(shelf: Shelf) -> None:
    hold = shelf.hold("signals", 7)
    shelf.unhold(hold)
    assert "there is no such legal hold" in refused(shelf, {"hold": str(hold)}, "unhold")


# Policies


def test_a_policy_plans_without_a_date(shelf: Shelf) -> None:
    assert set(shelf.plan("null").values()) == {None}
    with shelf.connection.transaction():
        query(shelf.connection, "set local alpha.maintenance = 'a test'")
        query(shelf.connection, "select set_retention_policy('order_events', '1 microsecond')")
    assert shelf.plan("null")["order_events"] == 512
    assert changed_guards(shelf.connection) == []


def test_json_of_a_proposal_reads_as_it_was_signed(shelf: Shelf) -> None:
    segment = shelf.segment("order_events", 256)
    proposal = shelf.council.enact("archive", segment, "ada", "ben", "cyd")
    assert one(
        shelf.connection,
        "select payload = %s from proposals where proposal_id = %s",
        [Jsonb(segment), proposal],
    )


def test_parts_of_a_long_range_start_behind_the_segment(pruned: Shelf) -> None:
    """What verification does with 100,000 rows and more, in small parts."""
    parts = "select holds from _check_in_parts('signals', 513, 1100, 100, 512, %s, '-infinity')"
    linked = one(pruned.connection, "select row_hash from chain_starts where table_name = 'signals'")
    assert one(pruned.connection, parts, [linked])
    assert not one(pruned.connection, parts, ["00" * 32])


def test_a_forged_node_over_archived_rows_is_found(pruned: Shelf) -> None:
    forge(
        pruned.connection,
        "update log_nodes set hash = sha256('x') where table_name = 'signals' and index = 0",
    )
    assert damage(pruned.connection, "signals") == [(8, 1)]
