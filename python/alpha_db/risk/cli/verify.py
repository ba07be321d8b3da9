"""alpha-db risk verify."""

from __future__ import annotations

from pathlib import Path

import click

from alpha_db.cli.common import Settings, database_options, finish
from alpha_db.cli.output import BAD, DIM, GOOD, WARN, clean, emit_json, line
from alpha_db.errors import EXIT_DAMAGE, EXIT_NOT_RUN, EXIT_OK, AlphaDbError, RiskTampered, squeeze
from alpha_db.installation import gone
from alpha_db.risk.cli.get_config import pins_option
from alpha_db.risk.config_manager import ConfigManager, Row
from alpha_db.risk.pins import load_pins

_WORDS = {True: ("ok", GOOD), False: ("not ok", BAD), None: ("not run", WARN)}


@click.command(short_help="Verify limits, log and signatures.")
@pins_option
@database_options
def verify(settings: Settings, as_json: bool, pins: Path | None) -> None:
    """Compare the stored hash, the limits as they stand, and what the signed proposals lead to.

    The database does so first, then this program again, by itself, from the signed texts. Exits 1 if
    anything disagrees or is gone (RSK-007), otherwise 3 if something could not be read. Each is listed.

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
        except AlphaDbError as problem:  # what the database itself found counts just the same
            lost = gone(conn, problem)
            here["detail"] = squeeze(lost.message) if lost else f"could not be read: {problem.message}"
            here["is_valid"] = False if lost else None
    results = [*sources, here]
    # the hashes of both can differ only if a change was applied between the two reads
    damaged = any(row["is_valid"] is False for row in results)
    valid = False if damaged else None if any(row["is_valid"] is None for row in results) else True
    code = EXIT_DAMAGE if damaged else EXIT_OK if valid else EXIT_NOT_RUN
    if as_json:
        emit_json(
            {
                "is_valid": valid,
                "error_code": "RSK-007" if damaged else None,
                "sources": results,
            }
        )
    else:
        for row in results:
            said, style = _WORDS[row["is_valid"]]
            line(
                (f"{said:<7}", style),
                f"  {row['source']:<12}  {clean(row['hash'])}  ",
                (clean(row["detail"]), DIM),
            )
        if valid:
            line(("The risk state is what the agents signed.", GOOD))
        elif not damaged:
            line(("Not everything could be read, so nothing is known of the risk state.", WARN))
        else:
            line(
                ("RSK-007", BAD),
                ": the risk tables, their log and the signatures disagree. Stop trading on them.",
            )
    finish(code)
