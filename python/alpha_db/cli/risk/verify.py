"""alpha-db risk verify."""

from __future__ import annotations

from pathlib import Path

import click

from alpha_db.cli.common import Settings, database_options, finish
from alpha_db.cli.output import BAD, DIM, GOOD, clean, emit_json, line
from alpha_db.cli.risk.get_config import pins_option
from alpha_db.errors import EXIT_DAMAGE, EXIT_OK, RiskTampered
from alpha_db.risk.config_manager import ConfigManager, Row
from alpha_db.risk.pins import load_pins


@click.command(short_help="Verify limits, log and signatures.")
@pins_option
@database_options
def verify(settings: Settings, as_json: bool, pins: Path | None) -> None:
    """Compare the stored hash, the limits as they stand, and what the signed proposals lead to.

    The database does so first, then this program again, by itself, from the signed texts. Exits 1 if
    anything disagrees (RSK-007).

    \b
    Examples:
      alpha-db risk verify
      alpha-db risk verify --trust keys.json --json
    """
    pinned = load_pins(pins) if pins else None
    with settings.installed() as (conn, _):
        manager = ConfigManager(conn)
        sources = manager.integrity()
        here: Row = {"source": "this program", "hash": None, "is_valid": False, "detail": ""}
        try:
            verified = manager.verified(pinned.keys if pinned else None)
            here["hash"] = verified.state_hash
            if pinned and pinned.origin not in (None, verified.origin):
                raise RiskTampered(f"RSK-007: the installation is {verified.origin}, not {pinned.origin}")
            keys = "pinned keys" if pinned else "the keys that the database names"
            here |= {"is_valid": True, "detail": f"replayed and every signature checked, by {keys}"}
        except RiskTampered as problem:
            here["detail"] = problem.message.removeprefix("RSK-007: ")
    results = [*sources, here]
    # the hashes of both can differ only if a change was applied between the two reads
    valid = all(row["is_valid"] for row in results)
    code = EXIT_OK if valid else EXIT_DAMAGE
    if as_json:
        emit_json(
            {
                "is_valid": valid,
                "error_code": None if valid else "RSK-007",
                "sources": results,
            }
        )
    else:
        for row in results:
            word = (f"{'ok' if row['is_valid'] else 'not ok':<7}", GOOD if row["is_valid"] else BAD)
            line(word, f"  {row['source']:<12}  {clean(row['hash'])}  ", (clean(row["detail"]), DIM))
        if valid:
            line(("The risk state is what the agents signed.", GOOD))
        else:
            line(
                ("RSK-007", BAD),
                ": the risk tables, their log and the signatures disagree. Stop trading on them.",
            )
    finish(code)
