"""alpha-db checkpoint stamp."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from math import isnan
from pathlib import Path

import click

from alpha_db.cli.common import NamedOption, json_option
from alpha_db.cli.options import FILE, Number
from alpha_db.cli.output import BAD, GOOD, WARN, clean, emit_json, line, note
from alpha_db.errors import ValueRefused
from alpha_db.evidence.checkpoint.history import run_of_note
from alpha_db.evidence.checkpoint.note import NOTE
from alpha_db.evidence.checkpoint.read import Verdict
from alpha_db.evidence.checkpoint.store import is_run
from alpha_db.evidence.cli.new_file import writing
from alpha_db.evidence.cli.notes import judged, open_notes
from alpha_db.evidence.offline_check import MAX_NOTE, Key, Policy, Refused, read_text
from alpha_db.evidence.stamps.check import CheckedStamp, check_stamps
from alpha_db.evidence.stamps.post import check_url
from alpha_db.evidence.stamps.stamp import certificates
from alpha_db.evidence.stamps.stamp import stamp as ask
from alpha_db.security.files import whole_file
from alpha_db.verify.cli.checkpoint_options import all_keys, policy_option, trusted_keys_option

_WAIT = 30.0


def _read_url(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    try:
        return check_url(value)
    except ValueRefused as problem:
        raise click.BadParameter(f"{problem.message}; {problem.hint}") from None


tsa_ca_option = click.option(
    "--tsa-ca",
    "ca_file",
    cls=NamedOption,
    metavar="FILE",
    type=FILE,
    help="Certificates (PEM) that are trusted to vouch for the time-stamping authority.",
)


@click.command(short_help="Have an authority say when a checkpoint existed.")
@click.argument("directory", type=click.Path(path_type=Path, readable=False))
@click.option(
    "--tsa",
    "url",
    cls=NamedOption,
    metavar="URL",
    required=True,
    callback=_read_url,
    help="The time-stamping authority.",
)
@tsa_ca_option
@policy_option
@trusted_keys_option(required=False)
@click.option(
    "--timeout",
    type=Number(min=0, min_open=True, max=3600),
    metavar="SECONDS",
    default=_WAIT,
    help=f"How long to wait for the authority, in seconds; default: {_WAIT:g}.",
)
@json_option
def stamp(
    as_json: bool,
    directory: Path,
    url: str,
    ca_file: Path | None,
    policy: Policy | None,
    keys: list[Key],
    timeout: float,
) -> None:
    """Have a time-stamping authority (RFC 3161) stamp the latest checkpoint in DIRECTORY, or that of one run.

    The checkpoint must be signed by a trusted key (--trust, or a log of --policy). The authority gets the SHA-256 of
    checkpoint.note, and nothing else. Its answer is checked, and written beside the note as stamp-1.tsr, or the lowest
    number that is free; nothing is overwritten. Needs the program openssl. Asks no
    database.

    Exits 0 if the time-stamp is written, 1 if the answer does not hold, 3 if there is none, 5 if there is no
    checkpoint.

    \b
    Examples:
      alpha-db checkpoint stamp --tsa https://freetsa.org/tsr \\
        --tsa-ca freetsa-ca.pem --trust checkpoint.key.vkey \\
        /mnt/checkpoints/trading
    """
    if isnan(timeout):
        raise click.BadParameter("NaN is no number", param_hint="--timeout")
    run, text = _run_in(directory, all_keys(keys, policy))
    data = text.encode()
    if ca_file is not None:
        with judged("--tsa-ca"):
            certificates(ca_file)
    with judged(url):
        found = ask(data, url, ca_file=ca_file, timeout=timeout)
    path = _write(run, found.response)
    if as_json:
        emit_json({"run": run.name, "file": str(path), "time": found.time, "is_trusted": ca_file is not None})
        return
    line(("ok", GOOD), f"  {clean(run.name)} existed at {clean(found.time)}: {clean(path)}")
    if ca_file is None:
        note(("Not checked", WARN), ": whose certificate it is. Name the authority's own with --tsa-ca.")


def verified_stamps(paths: Sequence[str], ca_file: Path | None, without: Sequence[str]) -> list[CheckedStamp]:
    """Return what came of the time-stamps beside checkpoints; nothing without trusted certificates.

    Raises NotThere and EvidenceUnreadable if these cannot be read.
    """
    if ca_file is None:
        return []
    with judged("--tsa-ca"):
        certificates(ca_file)
    return [checked for path in paths for checked in check_stamps(path, ca_file, without)]


def tell_stamps(stamps: Sequence[CheckedStamp]) -> None:
    """Print what came of time-stamps."""
    for checked in stamps:
        style, word = _WORDS[checked.verdict]
        said = f"existed at {clean(checked.time)}" if checked.time else clean(checked.reason)
        line((word, style), f"  {clean(checked.what)}  ", (said, "" if checked.time else style))


_WORDS = {
    Verdict.HOLDS: (GOOD, "ok      "),
    Verdict.REFUSED: (BAD, "not ok  "),
    Verdict.NOT_RUN: (WARN, "not read"),
    Verdict.NOT_THERE: (WARN, "absent  "),
}


def _run_in(directory: Path, keys: list[Key]) -> tuple[Path, str]:
    """The directory of the run that is meant, and its note, which holds. Raises NotThere, AlphaDbError."""
    found = open_notes(directory, keys)
    found.tell_unread()
    run = directory if is_run(directory) else directory / found.run.name
    with judged(run / NOTE):
        text = read_text(run / NOTE, MAX_NOTE)
        if run_of_note(run.name, text, keys).checkpoint != found.run.checkpoint:
            raise Refused("it was changed meanwhile")
    return run, text


def _write(run: Path, response: bytes) -> Path:
    """Write a time-stamp under the lowest number that is free. Raises NotWritten."""
    with writing(run):
        taken = {each.name for each in run.iterdir()}
        for number in count(1):
            if (path := run / f"stamp-{number}.tsr").name in taken:
                continue
            try:
                with whole_file(path, overwrite=False) as stream:
                    stream.write(response)
            except FileExistsError:  # of another process, meanwhile
                continue
            break
    return path
