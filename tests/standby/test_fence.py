"""A former primary whose configuration says read-only: no command of ours writes there, as on a standby."""

from __future__ import annotations

import re

from tests.standby.pair import Pair, fenced
from tests.support import one


def test_no_command_writes_where_the_configuration_says_read_only(pair: Pair) -> None:
    desk = pair.desk(pair.primary)
    with pair.connect(pair.primary) as reader, fenced(pair.primary):
        before = one(reader, "select pg_current_wal_insert_lsn() - '0/0'")
        for command in (
            ["risk", "heartbeat"],
            ["risk", "heartbeat", "--every", "1"],
            ["checkpoint", "create", "--key", str(pair.folder / "key"), str(pair.folder / "runs")],
            ["tables", "untrack", "positions"],
        ):
            said = desk.run(*command, expect=3).err
            assert "[25006]" in said
            assert re.search("connect to the primary|transaction that may write", said, re.IGNORECASE)
        said = desk.run(
            "verify-chain", "--since-last", expect=1
        ).out  # a guard says it, as of any such setting
        assert "setting server: default_transaction_read_only extra" in said
        assert "not remembered" in said
        assert one(reader, "select count(*) from verification_runs") == 0
        assert one(reader, "select pg_current_wal_insert_lsn() - '0/0'") - before < 10_000
