"""alpha-db checkpoint stamp."""

from __future__ import annotations

import re
from math import isnan
from pathlib import Path

import click

from alpha_db.cli.common import NamedOption, json_option
from alpha_db.cli.options import FILE, Number
from alpha_db.cli.output import GOOD, WARN, clean, emit_json, line, note
from alpha_db.errors import NotThere, ValueRefused
from alpha_db.evidence.checkpoint.store import StoreError
from alpha_db.evidence.cli.new_file import writing
from alpha_db.evidence.cli.notes import judged
from alpha_db.evidence.offline_check import MAX_NOTE, read_text
from alpha_db.evidence.stamps.post import check_url
from alpha_db.evidence.stamps.stamp import stamp as ask
from alpha_db.security.files import whole_file

NOTE = "checkpoint.note"
_RUN = re.compile(r"\d{9}", re.ASCII)
_STAMP = re.compile(r"stamp-(\d{1,9})\.tsr", re.ASCII)
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
@click.option(
    "--timeout",
    type=Number(min=0, min_open=True, max=3600),
    metavar="SECONDS",
    default=_WAIT,
    help=f"How long to wait for the authority, in seconds; default: {_WAIT:g}.",
)
@json_option
def stamp(as_json: bool, directory: Path, url: str, ca_file: Path | None, timeout: float) -> None:
    """Have a time-stamping authority (RFC 3161) stamp the latest checkpoint in DIRECTORY, or that of one run.

    The authority gets the SHA-256 of checkpoint.note, and nothing else. Its answer is checked, and written beside the
    note as stamp-1.tsr, or the next number that is free; nothing is overwritten. Needs the program openssl. Asks no
    database.

    Exits 0 if the time-stamp is written, 1 if the answer does not hold, 3 if there is none, 5 if there is no
    checkpoint.

    \b
    Examples:
      alpha-db checkpoint stamp --tsa https://freetsa.org/tsr \\
        --tsa-ca freetsa-ca.pem /mnt/witness/trading
    """
    if isnan(timeout):
        raise click.BadParameter("NaN is no number", param_hint="--timeout")
    run = _run_in(directory)
    with judged(run / NOTE):
        data = read_text(run / NOTE, MAX_NOTE).encode()
    with judged("the time-stamp"):
        found = ask(data, url, ca_file=ca_file, timeout=timeout)
    path = _write(run, found.response)
    if as_json:
        emit_json({"run": run.name, "file": str(path), "time": found.time, "is_trusted": ca_file is not None})
        return
    line(("ok", GOOD), f"  {clean(run.name)} existed at {clean(found.time)}: {clean(path)}")
    if ca_file is None:
        note(("Not checked", WARN), ": whose certificate it is. Name the authority's own with --tsa-ca.")


def _run_in(directory: Path) -> Path:
    """The directory of the run that is meant. Raises NotThere."""
    if (directory / NOTE).exists():
        return directory
    try:
        runs = sorted(path for path in directory.iterdir() if _RUN.fullmatch(path.name))
    except FileNotFoundError:
        raise NotThere(f"there is no directory {directory}") from None
    except OSError as problem:
        raise StoreError(f"cannot read {directory}: {problem.strerror}") from None
    found = [run for run in runs if (run / NOTE).exists()]
    if not found:
        raise NotThere(f"there is no checkpoint in {directory}")
    return found[-1]


def _write(run: Path, response: bytes) -> Path:
    """Write a time-stamp under the next number that is free. Raises NotWritten, StoreError."""
    with writing(run):
        numbers = [int(found[1]) for each in run.iterdir() if (found := _STAMP.fullmatch(each.name))]
        for number in range(max(numbers, default=0) + 1, 10**9):
            path = run / f"stamp-{number}.tsr"
            try:
                with whole_file(path, overwrite=False) as stream:
                    stream.write(response)
            except FileExistsError:  # of another process, meanwhile
                continue
            return path
    raise StoreError(f"{run} has no room for another time-stamp")
