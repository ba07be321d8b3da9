"""Which run is named for rows that several runs have signed alike: the last, because a server has at least that one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from alpha_db.evidence.checkpoint.verify import Older, _older
from alpha_db.evidence.offline_check import Signed


def signed(size: int) -> Signed:
    return Signed("", "signals", size, bytes(32), "desk")


def test_the_last_run_of_a_size_is_named() -> None:
    sizes = {"000000001": 3, "000000002": 3, "000000004": 6}
    runs: list[Any] = [SimpleNamespace(name=run, logs={"signals": signed(n)}) for run, n in sizes.items()]
    recorded = [Older("000000001", signed(3)), Older("000000003", signed(3))]
    assert [one.run for one in _older(runs, recorded, "signals")] == ["000000003"]
    assert [one.run for one in _older(runs, [], "signals")] == ["000000002"]
