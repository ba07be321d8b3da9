"""Cosignatures of one checkpoint are collected until there is a quorum; what is broken among them counts as absent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from alpha_db.evidence.offline_check import Policy, parse_policy, witnessed
from alpha_db.evidence.witness.ask import Result
from alpha_db.evidence.witness.collect import Collected, collect, last_sizes
from tests.witness.by_hand import LOG, OTHER, WITNESS, Log, Signer
from tests.witness.running import Running, in_process
from tests.witness.test_asking import no_proof

NOTE, TEXT = LOG.note(42), LOG.text(42)
THIRD = Signer("witness.example/w3", 4)


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Running]:
    with in_process(tmp_path) as running:
        yield running


def policy_of(url: str = "", quorum: str = "2") -> Policy:
    """Two of three: the one that runs, one without a URL, and one that is not there."""
    return parse_policy(
        f"witness runs {WITNESS.vkey} {url}\nwitness silent {OTHER.vkey}\nwitness gone {THIRD.vkey} http://127.0.0.1:1/\n"
        f"group all-three {quorum} runs silent gone\nquorum all-three\n"
    )


def names(collected: Collected) -> list[str]:
    assert collected.note
    assert collected.note.startswith(NOTE)
    return [line.split(" ")[1] for line in collected.note.removeprefix(NOTE).splitlines()]


def test_a_quorum_is_collected_over_several_runs(witness: Running) -> None:
    first = collect(NOTE, [], policy_of(witness.url), no_proof, {})
    assert (first.had, first.is_met, first.exit_code) == ({}, False, 3)
    assert {f.witness.name: f.result for f in first.findings} == {
        "runs": Result.COSIGNED,
        "gone": Result.NOT_REACHED,
    }
    assert names(first) == [WITNESS.name]
    by_mail = f"{NOTE}{OTHER.line(TEXT, 7)}"
    second = collect(NOTE, [str(first.note), by_mail], policy_of(witness.url), no_proof, {})
    assert (set(second.had), second.had["silent"]) == ({"runs", "silent"}, 7)
    assert (second.is_met, second.exit_code, second.note) == (True, 0, None)
    assert [finding.witness.name for finding in second.findings] == ["gone"], (
        "who has cosigned is not asked again"
    )


def test_all_that_is_known_is_in_the_new_note(witness: Running) -> None:
    by_mail = f"{NOTE}{THIRD.line(TEXT)}{OTHER.line(TEXT)}"
    collected = collect(NOTE, [by_mail], policy_of(witness.url, "all"), no_proof, {})
    assert names(collected) == [WITNESS.name, OTHER.name, THIRD.name]
    signatures = str(collected.note).removesuffix("\n").split("\n\n")[1].split("\n")
    assert witnessed(TEXT, signatures, policy_of()).is_met
    assert (collected.is_met, collected.exit_code) == (True, 0)


BROKEN = {
    "empty": "",
    "no note": "x",
    "cut": f"{NOTE}{OTHER.line(TEXT)}"[:-30],
    "of another size": f"{LOG.note(41)}{OTHER.line(LOG.text(41))}",
    "a bad signature": f"{NOTE}{OTHER.line(LOG.text(41))}",
    "a stranger": f"{NOTE}{Signer('stranger.example', 4).line(TEXT)}",
    "no checkpoint": f"x\n\n{OTHER.line('x' + chr(10))}",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_counts_as_absent(witness: Running, name: str) -> None:
    good = f"{NOTE}{OTHER.line(TEXT)}"
    for notes in ([BROKEN[name], good], [good, BROKEN[name]]):
        collected = collect(NOTE, notes, policy_of(witness.url), no_proof, {})
        assert set(collected.had) == {"silent"}
        assert names(collected) == [WITNESS.name, OTHER.name]
    assert set(collect(NOTE, [BROKEN[name]], policy_of(witness.url), no_proof, {}).had) == set()


def test_evidence_of_a_fork_outweighs_a_quorum(witness: Running) -> None:
    witness.post(Log(fork_at=30).request(0, 42))
    collected = collect(
        NOTE, [f"{NOTE}{OTHER.line(TEXT)}{THIRD.line(TEXT)}"], policy_of(witness.url), no_proof, {}
    )
    assert (collected.is_met, collected.exit_code, collected.note) == (True, 1, None)


def test_no_quorum_is_needed_by_a_policy_without_one(tmp_path: Path) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(in_process(tmp_path)).url
        policy = parse_policy(f"witness runs {WITNESS.vkey} {url}\nquorum none\n")
        collected = collect(NOTE, [], policy, no_proof, {})
    assert (collected.is_met, collected.exit_code, names(collected)) == (True, 0, [WITNESS.name])


def test_the_largest_size_of_each_witness_is_known_from_older_notes() -> None:
    notes = [f"{LOG.note(size)}{OTHER.line(LOG.text(size))}" for size in (7, 42, 9)]
    notes += [f"{LOG.note(50)}{WITNESS.line(LOG.text(50))}", *BROKEN.values()]
    assert last_sizes(notes, policy_of()) == {"silent": 42, "runs": 50}
