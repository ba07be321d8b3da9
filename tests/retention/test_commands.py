"""alpha-db retention: plan, propose, prune, hold, release, status; and approving as ever."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.retention.keeper import Keeper
from tests.support import assert_healthy, one, query, quote

pytestmark = pytest.mark.any_server

#: How far each table can go of what the fixture writes: whole blocks, and never the last row.
ENDS = {
    "webhook_deliveries": 1024,
    "signals": 1024,
    "ai_debates": 1024,
    "order_execution": 512,
    "order_events": 512,
}


def test_plan_lists_every_table(keeper: Keeper) -> None:
    told = keeper.run("retention", "plan", "--before", keeper.now, "--json").json["tables"]
    assert {row["table"]: row["through_id"] for row in told} == ENDS | {
        "risk_decisions": None,
        "table_changes": None,
    }
    assert "signals             1 to 1024" in keeper.run("retention", "plan", "--before", keeper.now).out


def test_plan_without_a_date_goes_by_the_policy(keeper: Keeper) -> None:
    said = keeper.run("retention", "plan").out
    assert "signals             none" in said
    assert "no policy, and no date was given" in said


def test_segments_are_proposed_as_they_are_on_disk(keeper: Keeper) -> None:
    made = keeper.propose()
    assert (made["kind"], made["direction"], made["approvals_needed"]) == ("archive", "loosen", 2)
    assert {item["table"]: item["through_id"] for item in made["payload"]["segments"]} == ENDS
    for item in made["payload"]["segments"]:
        file = keeper.segment(item["table"], 1, item["through_id"])
        assert hashlib.sha256(file.read_bytes()).hexdigest() == item["segment_sha256"]
        root = one(keeper.db, "select encode(log_root(%s, %s), 'hex')", [item["table"], item["through_id"]])
        assert item["root"] == root


def test_a_segment_is_an_export_behind_a_line(keeper: Keeper) -> None:
    keeper.propose("--table", "ai_debates")
    file = keeper.folder / "export.jsonl"
    keeper.run("export", "--table", "ai_debates", "--to-id", "1024", "-o", file)
    first, rest = keeper.segment("ai_debates", 1, 1024).read_bytes().split(b"\n", 1)
    assert rest == file.read_bytes()
    run = next(path for path in keeper.checkpoints.iterdir() if path.name == "000000002")
    assert json.loads(first)["run"] == (run / "run.tlog-proof").read_text()


def test_one_table_is_proposed_without_a_list(keeper: Keeper) -> None:
    made = keeper.propose("--table", "order_events")
    assert made["payload"]["table"] == "order_events"
    assert [item["table"] for item in made["segments"]] == ["order_events"]


def test_rows_leave_and_everything_verifies(keeper: Keeper) -> None:
    keeper.archive()
    assert one(keeper.db, "select count(*) from signals") == 1100
    pruned = keeper.prune("--segments", keeper.segments)
    assert {row["table"]: row["start_id"] for row in pruned} == ENDS
    assert one(keeper.db, "select min(id) from signals") == 1025
    assert_healthy(keeper.db)
    keeper.run("risk", "verify")
    keeper.run("verify-export", *keeper.segments.glob("*.segment"), "--trust", keeper.trust)


def test_a_second_segment_follows_the_first(keeper: Keeper) -> None:
    (first,) = keeper.leave("--table", "order_events")
    query(
        keeper.db,
        "insert into order_events (order_execution_id, event_type, fill_quantity, fill_price)"
        " select 550, 'FILL', 1, 1 from generate_series(1, 300)",
    )
    keeper.sign()
    (second,) = keeper.leave("--table", "order_events")
    assert (first["through_id"], second["first_id"], second["through_id"]) == (512, 513, 768)
    told = keeper.run("verify-export", second["file"], "--trust", keeper.trust, "--json").json["exports"][0]
    assert (told["first_id"], told["last_id"], told["previous_hash"]) == (513, 768, first["row_hash"])
    assert_healthy(keeper.db)


def test_proposing_again_proposes_nothing_twice(keeper: Keeper) -> None:
    made = keeper.propose()
    times = {file.name: file.stat().st_mtime_ns for file in keeper.segments.iterdir()}
    again = keeper.propose()
    assert (again["proposal_id"], again["status"]) == (made["proposal_id"], "PENDING")
    assert {file.name: file.stat().st_mtime_ns for file in keeper.segments.iterdir()} == times
    assert one(keeper.db, "select count(*) from proposals") == 1


def test_what_is_approved_is_not_proposed_again(keeper: Keeper) -> None:
    events = "--table", "order_events"
    keeper.archive(*events)
    assert keeper.propose(*events)["proposal_id"] is None
    keeper.prune()
    assert keeper.propose(*events)["segments"] == []


def test_segments_of_an_expired_proposal_are_taken_again(keeper: Keeper) -> None:
    events = "--table", "order_events"
    made = keeper.propose(*events)
    keeper.run("risk", "reject", made["proposal_id"], *keeper.desk.sign("ada"))
    keeper.sign()
    again = keeper.propose(*events)
    assert again["proposal_id"] != made["proposal_id"]
    assert again["payload"] == made["payload"]
    assert not any(item["is_new"] for item in again["segments"])


def test_approvers_see_what_leaves(keeper: Keeper) -> None:
    made = keeper.propose("--table", "order_events")
    sha256 = made["segments"][0]["segment_sha256"]
    said = f"leave the database; the segment with SHA-256 {sha256} has them"
    assert f"order_events, rows up to 512  in the database → {said}" in keeper.run("risk", "proposals").out
    assert said in keeper.run("risk", "approve", made["proposal_id"], *keeper.desk.sign("ben")).out
    keeper.desk.approve(made["proposal_id"], "cyd")
    assert said in keeper.run("risk", "history").out


def test_pruning_wants_the_segments_as_they_were_approved(keeper: Keeper) -> None:
    keeper.archive("--table", "order_events")
    prune = ("retention", "prune", "--segments", keeper.segments)
    file = keeper.segment("order_events", 1, 512)
    data = file.read_bytes()
    file.write_bytes(data + b"\n")
    assert "was approved" in keeper.run(*prune, expect=1).err
    file.unlink()
    assert "there is no such file" in keeper.run(*prune, expect=5).err
    assert one(keeper.db, "select count(*) from chain_starts") == 0
    file.write_bytes(data)
    keeper.run(*prune)


def test_pruning_one_table(keeper: Keeper) -> None:
    keeper.archive()
    assert keeper.prune("order_events", "--batch", 256) == [
        {"table": "order_events", "deleted": 512, "start_id": 512}
    ]
    assert one(keeper.db, "select count(*) from chain_starts") == 2


def test_what_is_still_referred_to_is_not_pruned_alone(keeper: Keeper) -> None:
    keeper.archive()
    err = keeper.run("retention", "prune", "order_execution", expect=1).err
    assert "AUD-016" in err
    assert "order_events" in err


def test_pruning_what_was_never_approved_deletes_nothing(keeper: Keeper) -> None:
    assert keeper.prune() == []
    assert "No row is here" in keeper.run("retention", "prune", "signals").out
    assert "signalz is not a chained table" in keeper.run("retention", "prune", "signalz", expect=5).err


def test_a_hold_stops_what_was_approved(keeper: Keeper) -> None:
    keeper.archive("--table", "order_events")
    sign = ("--reason", "case 17", *keeper.desk.sign("ada"))
    held = keeper.run("retention", "hold", "order_events", 300, *sign, "--json").json
    assert (held["direction"], held["approvals_needed"]) == ("tighten", 1)
    assert keeper.desk.approve(held["proposal_id"], "ben") == ["APPLIED"]
    err = keeper.run("retention", "prune", "order_events", expect=1).err
    assert "AUD-016" in err
    assert "legal hold from row 300" in err
    assert one(keeper.db, "select min(id) from order_events") == 257
    ended = keeper.run("retention", "release", held["proposal_id"][:8], *sign, "--json").json
    assert (ended["kind"], ended["payload"]) == ("unhold", {"hold": held["proposal_id"]})
    keeper.approve(ended["proposal_id"])
    keeper.prune()
    assert one(keeper.db, "select min(id) from order_events") == 513


def test_only_a_hold_that_is_there_is_released(keeper: Keeper) -> None:
    sign = ("--reason", "x", *keeper.desk.sign("ada"))
    assert "there is no hold 0f5c" in keeper.run("retention", "release", "0f5c", *sign, expect=5).err


def test_status_tells_what_is_still_here(keeper: Keeper) -> None:
    assert "nothing was archived" in keeper.run("retention", "status").out
    keeper.archive("--table", "order_events")
    assert keeper.run("retention", "status", "--json").json["archived"][0]["still_here"] == 512
    assert "512 rows are still here: alpha-db retention prune" in keeper.run("retention", "status").out
    keeper.prune()
    assert keeper.run("retention", "status", "--json").json["archived"][0]["still_here"] == 0


def test_status_tells_policies_and_holds(keeper: Keeper) -> None:
    with keeper.db.transaction():
        query(keeper.db, "set local alpha.maintenance = 'seven years'")
        query(keeper.db, "select set_retention_policy('signals', '7 years')")
    sign = ("--reason", "case 17", *keeper.desk.sign("ada"))
    held = keeper.run("retention", "hold", "signals", 9, *sign, "--json").json
    keeper.desk.approve(held["proposal_id"], "ben")
    said = keeper.run("retention", "status").out
    assert "signals: 7 years" in said
    assert "signals: rows from 9 on, since 20" in said
    assert ": case 17" in said


@pytest.mark.parametrize("before", ["soon", "2027-13-01", "", "7 years"])
def test_a_date_that_is_none(keeper: Keeper, before: str) -> None:
    assert "is not a day such as" in keeper.run("retention", "plan", "--before", before, expect=2).err


def test_a_date_that_has_not_come(keeper: Keeper) -> None:
    assert "has not come" in keeper.propose(before="2100-01-01", expect=3)
    assert list(keeper.segments.glob("*.segment")) == []


def test_what_is_deleted_is_told_though_a_hold_stops_the_rest(keeper: Keeper) -> None:
    keeper.archive()
    held = keeper.run(
        "retention", "hold", "ai_debates", 1, "--reason", "case 17", *keeper.desk.sign("ada"), "--json"
    ).json
    keeper.desk.approve(held["proposal_id"], "ben")
    done = keeper.run("retention", "prune", expect=1)
    assert "order_events: 512 rows" in done.out
    assert "legal hold from row 1" in done.err


def test_what_is_deleted_of_a_table_is_told_though_a_hold_stops_its_rest(keeper: Keeper) -> None:
    keeper.archive("--table", "order_events")
    held = keeper.run(
        "retention", "hold", "order_events", 300, "--reason", "case 17", *keeper.desk.sign("ada"), "--json"
    ).json
    keeper.desk.approve(held["proposal_id"], "ben")
    done = keeper.run("retention", "prune", "order_events", expect=1)
    assert "order_events: 256 rows, now up to row 256" in done.out
    assert "legal hold from row 300" in done.err


def test_a_table_of_ones_own_with_a_name_to_quote(keeper: Keeper) -> None:
    name = 'My "fills" é %s'
    quoted = quote(name)
    query(keeper.db, f"create table {quoted} (what text not null)")
    keeper.run("tables", "chain", name)
    query(keeper.db, f"insert into {quoted} (what) select 'x' from generate_series(1, 600)")
    keeper.sign()
    (told,) = keeper.leave("--table", name)
    assert told["file"] == str(
        keeper.segments / "My%20%22fills%22%20%C3%A9%20%25s.000000000001-000000000512.segment"
    )
    keeper.run("verify-export", told["file"], "--trust", keeper.trust)
    keeper.run("verify-chain", *keeper.evidence)
