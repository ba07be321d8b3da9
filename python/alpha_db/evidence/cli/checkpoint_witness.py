"""alpha-db checkpoint witness."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import click
import psycopg

from alpha_db.cli.common import Settings, database_options, finish
from alpha_db.cli.options import Number
from alpha_db.cli.output import BAD, DIM, GOOD, WARN, clean, emit_json, line, note
from alpha_db.errors import EXIT_DAMAGE, EXIT_NOT_RUN, EXIT_OK
from alpha_db.evidence.checkpoint.cosign import Cosigned, cosign_latest
from alpha_db.evidence.checkpoint.store import Store
from alpha_db.evidence.offline_check import Key, Policy, shown_seconds
from alpha_db.evidence.witness.ask import PATIENCE, Result
from alpha_db.verify.cli.all_schemas import AllSchemas, Words
from alpha_db.verify.cli.checkpoint_options import (
    all_keys,
    policy_option,
    trusted_keys_option,
    without_option,
)

_WORDS = {
    Result.COSIGNED: ("cosigned   ", GOOD),
    Result.FORK: ("FORK       ", BAD),
    Result.REFUSED: ("refused    ", WARN),
    Result.BAD_ANSWER: ("bad answer ", WARN),
    Result.NOT_REACHED: ("not reached", WARN),
    Result.NO_PROOF: ("no proof   ", WARN),
}


@click.command(short_help="Have the latest run cosigned by witnesses.")
@click.argument("directory", type=click.Path(path_type=Path, readable=False))
@policy_option(required=True)
@click.option(
    "--timeout",
    type=Number(min=0.1, max=3600),
    metavar="SECONDS",
    default=PATIENCE,
    help=f"How long to wait for the witnesses, in seconds; default: {PATIENCE:g}.",
)
@without_option
@trusted_keys_option(required=False)
@database_options
@AllSchemas(Words("cosigned", "on a fork"), must=("directory",))
def witness(
    settings: Settings,
    as_json: bool,
    directory: Path,
    policy: Policy,
    timeout: float,
    without: tuple[str, ...],
    keys: list[Key],
) -> None:
    """Send the latest run in DIRECTORY to the witnesses of a policy, and keep what they sign beside it.

    Asks each witness that has a URL and has not cosigned this run yet; so it can be run again until there is a
    quorum. The run must be signed by a log of the policy; --trust counts only if the policy names none. Exits 0 with a
    quorum; 1 if a witness says that it cosigned another log, or the database does not continue the runs: look at it
    before anything else; 3 without a quorum, or if the database cannot give a proof that a witness needs.

    \b
    Examples:
      alpha-db checkpoint witness --policy witnesses.policy \\
        /mnt/checkpoints/trading
      alpha-db checkpoint witness --policy witnesses.policy \\
        --timeout 60 /mnt/checkpoints/trading --json
      alpha-db checkpoint witness --policy witnesses.policy \\
        --all-schemas '/mnt/checkpoints/{schema}'
    """
    trusted = all_keys(keys, policy)
    with ExitStack() as stack:

        @cache
        def connect() -> psycopg.Connection[Any]:
            return stack.enter_context(settings.installed())[0]

        done = cosign_latest(Store(directory, without), trusted, policy, connect, timeout, settings.seconds)
        for one in done.unreadable:
            said = f": {clean(directory)}/{clean(one.name)}: {clean(one.reason)}"
            note(("Not read, so perhaps a later run was not sent", WARN), said)
        for found in done.collected.findings:
            if found.has_forgotten:
                said = " lost its memory, so it may have cosigned a fork: tell who runs it"
                note((f"The witness {clean(found.witness.name)}", BAD), said)
        if as_json:
            emit_json(_described(done, policy))
        else:
            _tell(done, policy)
        if done.problem and not done.collected.has_fork:
            raise done.problem  # in here, where a lock that was not to be had is explained
    if done.problem:
        note(("Besides", WARN), f": {clean(done.problem)}")
    finish(done.collected.exit_code or (EXIT_NOT_RUN if _may_hide_a_run(done) else EXIT_OK))


def _may_hide_a_run(done: Cosigned) -> bool:
    """Whether what could not be read may be a later run than the one that was sent."""
    return any(one.run > done.run.name for one in done.unreadable)


def _described(done: Cosigned, policy: Policy) -> dict[str, Any]:
    had, findings = done.collected.had, {one.witness.name: one for one in done.collected.findings}
    witnesses = []
    for one in policy.witnesses:
        found = findings.get(one.name)
        seconds = had.get(one.name, found.seconds if found else None)
        witnesses.append(
            {
                "name": one.name,
                "url": one.url,
                "result": found.result.value
                if found
                else "cosigned_before"
                if one.name in had
                else "not_asked",
                "time": None if seconds is None else shown_seconds(seconds),
                "detail": found.detail if found else None,
                "has_forgotten": bool(found and found.has_forgotten),
            }
        )
    return {
        "run": done.run.name,
        "size": done.run.checkpoint.size,
        "root": done.run.checkpoint.root.hex(),
        "quorum": done.collected.is_met,
        "path": None if done.file is None else str(done.file),
        "witnesses": witnesses,
    }


def _tell(done: Cosigned, policy: Policy) -> None:
    collected = done.collected
    findings = {one.witness.name: one for one in collected.findings}
    width = max((len(clean(one.name)) for one in policy.witnesses), default=0)
    for one in policy.witnesses:
        found, name = findings.get(one.name), f"{clean(one.name):<{width}}"
        if found:
            line(_WORDS[found.result], f"  {name}  {clean(found.detail)}")
        elif one.name in collected.had:
            line(("cosigned   ", GOOD), f"  {name}  before, at {shown_seconds(collected.had[one.name])}")
        else:
            line(("not asked  ", DIM), f"  {name}  {_why_not(one.key is not None)}")
    if done.file:
        line(("written to ", DIM), f"  {clean(done.file)}")
    run = f"Run {done.run.name}"
    if collected.is_met:
        line((f"{run} is cosigned", GOOD), f" by a quorum ({clean(policy.quorum)}).")
    elif collected.exit_code == EXIT_DAMAGE:
        line((f"{run} is not cosigned by a quorum", BAD), ": look at the fork before anything else.")
    else:
        line(
            (f"{run} is not cosigned by a quorum yet", WARN),
            f" ({clean(policy.quorum)}). Run this again once a witness that is missing answers.",
        )


def _why_not(has_key: bool) -> str:
    return "the policy has no URL of it" if has_key else "its kind of key is not known here"
