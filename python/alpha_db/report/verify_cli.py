"""alpha-db verify-report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from alpha_db.cli.common import debug_option, json_option
from alpha_db.cli.output import DIM, GOOD, WARN, clean, emit_json, line
from alpha_db.errors import AlphaDbError
from alpha_db.evidence.cli.notes import judged, verdict_of
from alpha_db.evidence.offline_check import Key, read_text
from alpha_db.report.verify import MAX_REPORT, Verified, verify_report
from alpha_db.shell.columns import rows
from alpha_db.verify.cli.checkpoint_options import trusted_keys_option


@click.command("verify-report", short_help="Check a report, without a browser or a database.")
@click.argument("file")
@trusted_keys_option(required=True)
@json_option
@debug_option
def verify_report_command(file: str, keys: Sequence[Key], as_json: bool) -> None:
    """Check a report with the public keys that you got elsewhere: its seal, its signature, its rows and proofs.

    Nothing of the page is believed, and its script does not run: whoever writes a whole page again can give it a script
    that says yes to anything. Each key that is trusted must have signed the page (report --key) or its checkpoint.

    Exits 0 if all holds, 1 if something does not, 3 if the file cannot be read or is no report, 5 if there is none.
    Whether the log was intact is the report's own verdict, which is printed.

    \b
    Examples:
      alpha-db verify-report 2027.html --trust desk.vkey
      alpha-db verify-report 2027.html --trust desk.vkey \\
        --trust reports.vkey --json
    """
    try:
        with judged(file):
            found = verify_report(read_text(file, MAX_REPORT), keys)
    except AlphaDbError as problem:
        reason = problem.message.removeprefix(f"{file}: ")
        emit_json({"file": file, "verdict": verdict_of(problem), "reason": reason})
        raise
    if as_json:
        emit_json({"file": file, "verdict": "holds", "reason": None, **_document(found)})
        return
    line(("ok", GOOD), f"  {clean(file)}: ", ("what was signed of it holds", ""))
    rows([list(told) for told in _told(found)], styles=[DIM] * 9, indent="    ")
    for said in _notes(found):
        line(("note", WARN), f"  {said}")


def _document(found: Verified) -> dict[str, Any]:
    run = found.checkpoint
    return {
        "report_verdict": found.state,
        "page_signer": found.page_signer,
        "checkpoint": run and {"signer": run.head.signer, "size": run.run.id, "time": run.run.time},
        "rows": found.rows,
        "newer": found.newer,
        "too_long": found.too_long,
        "signatures": found.signatures,
        "is_our_script": found.is_our_script,
    }


def _told(found: Verified) -> list[tuple[str, str]]:
    run = found.checkpoint
    return [
        ("page", f"as {clean(found.page_signer)} signed it" if found.page_signer else "nobody signed it"),
        ("checkpoint", f"{run.run.id:,}, signed by {clean(run.head.signer)}" if run else "none"),
        ("rows", f"{found.rows:,} in the logs that were signed"),
        ("signatures", f"{found.signatures:,} of proposals and votes"),
        ("verdict", f"{clean(found.state)}, says the report"),
    ]


def _notes(found: Verified) -> list[str]:
    notes = []
    if not found.page_signer:
        notes.append("Nobody vouches for verdict, figures and charts: they are in no signature.")
    if found.newer:
        said = f"{len(found.newer):,} rows give their hashes, but are in no checkpoint that is in the page"
        notes.append(f"{said}: {_some(found.newer)}.")
    if found.too_long:
        notes.append(f"Too long to be in the page whole, so not verified: {_some(found.too_long)}.")
    if not found.is_our_script:
        notes.append("The page's script is not that of this version: do not rely on its tick in a browser.")
    return notes


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
