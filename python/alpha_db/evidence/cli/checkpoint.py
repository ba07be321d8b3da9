"""alpha-db checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from alpha_db.cli.common import NamedOption, Settings, database_options, finish, json_option
from alpha_db.cli.options import Number
from alpha_db.cli.output import BAD, DIM, GOOD, WARN, clean, emit_json, line, note, put
from alpha_db.errors import EXIT_DAMAGE, EXIT_NOT_RUN, EXIT_NOT_THERE, EXIT_OK, AlphaDbError, NotThere
from alpha_db.evidence.checkpoint.create import Created
from alpha_db.evidence.checkpoint.create import create as make
from alpha_db.evidence.checkpoint.history import whole
from alpha_db.evidence.checkpoint.keys import SigningKey
from alpha_db.evidence.checkpoint.note import NOTE, PROOF, glance, is_like_a_note
from alpha_db.evidence.checkpoint.read import Checked, Verdict, check_path
from alpha_db.evidence.checkpoint.store import Store, StoreError, is_run
from alpha_db.evidence.cli.checkpoint_witness import witness
from alpha_db.evidence.cli.key_pair import (
    make_pair,
    name_option,
    open_key,
    output_option,
    private_key_option,
    public_option,
    show_key,
    vkey_option,
)
from alpha_db.evidence.cli.stamp import stamp, tell_stamps, tsa_ca_option, verified_stamps
from alpha_db.evidence.offline_check import Key, Policy
from alpha_db.shell.columns import rows
from alpha_db.verify.cli.all_schemas import AllSchemas, Words
from alpha_db.verify.cli.checkpoint_options import (
    all_keys,
    policy_option,
    trusted_keys_option,
    without_option,
)
from alpha_db.verify.cli.engaging import lockdown_of
from alpha_db.verify.cli.progress import progress_bar
from alpha_db.verify.cli.verify_report import worst

_WAIT = 60.0


@click.group(short_help="Signed checkpoints, to be kept outside.")
def checkpoint() -> None:
    """Signed checkpoints of all logs, to be kept outside of the database."""


checkpoint.add_command(stamp)
checkpoint.add_command(witness)


@checkpoint.command()
@click.option(
    "--name", metavar="NAME", required=True, help="Name of the key, which stands in every signature."
)
@output_option
@json_option
def keygen(as_json: bool, name: str, output: Path) -> None:
    """Make a key that signs checkpoints; print its public half.

    The private key belongs where checkpoints are made, readable by that account only. The public key belongs to
    everybody who verifies. The encoding is the one of C2SP signed notes and of Go's note package.

    \b
    Examples:
      alpha-db checkpoint keygen --name audit.example.org/trading \\
        -o checkpoint.key
    """
    key, public = make_pair(SigningKey, name, output)
    if as_json:
        emit_json(
            {
                "name": name,
                "key_id": key.key_id.hex(),
                "vkey": key.vkey,
                "private_file": str(output),
                "public_file": str(public),
            }
        )
        return
    line(key.vkey)
    note(("private  ", DIM), f"{clean(output)}: keep it where checkpoints are made, and nowhere else")
    note(("public   ", DIM), f"{clean(public)}: give it to everybody who verifies")


@checkpoint.command(short_help="Print the public half of a key.")
@private_key_option
@name_option
@public_option
@json_option
def show(as_json: bool, key: str, name: str | None, public: Path | None) -> None:
    """Print the public half of a key that signs checkpoints, as --trust and --public take it. Asks no database.

    A key that is in no file is given its name here, and signs a text that is no checkpoint, to show that it works.

    \b
    Examples:
      alpha-db checkpoint show --key checkpoint.key > checkpoint.key.vkey
      alpha-db checkpoint show --key ssh-agent:desk \\
        --name audit.example.org/trading > desk.vkey
    """
    found = show_key(SigningKey, key, name, public)
    if as_json:
        emit_json({"name": found.name, "key_id": found.key_id.hex(), "vkey": found.vkey})
    else:
        line(found.vkey)


def _one_name_each(desks: Mapping[str, dict[str, Any]]) -> None:
    """Raise UsageError if two desks would sign as the same log. A key that cannot be read is told in its turn."""
    desk_of: dict[str, str] = {}
    for schema, given in desks.items():
        try:
            name = open_key(SigningKey, given["key"], given["public"]).name
        except AlphaDbError:
            continue
        if other := desk_of.get(name):
            raise click.UsageError(
                f"the desks {clean(other)} and {clean(schema)} would sign as the same log, {clean(name)}:"
                " give each a key with a name of its own, --key 'DIR/{schema}.key'"
            )
        desk_of[name] = schema


@checkpoint.command()
@click.argument("directory", required=False, type=click.Path(path_type=Path, readable=False))
@private_key_option
@vkey_option
@click.option(
    "--stdout",
    "to_stdout",
    is_flag=True,
    cls=NamedOption,
    help="Write the note to stdout, not into DIRECTORY; if that is given, it must follow the last one there.",
)
@click.option(
    "--first",
    is_flag=True,
    help="With --stdout and without DIRECTORY: there is no earlier checkpoint to compare with.",
)
@click.option("--wait-for-standby", is_flag=True, help="Only when every connected standby has the rows, too.")
@click.option(
    "--timeout",
    type=Number(min=0),
    metavar="SECONDS",
    help=f"How long to wait for standbys, in seconds; default: {_WAIT:g}.",
)
@without_option
@trusted_keys_option(required=False)
@database_options
@AllSchemas(
    Words("signed", "not signed, or without every log"),
    must=("directory",),
    may=("key", "public"),
    excludes=("to_stdout", "first"),
    check=_one_name_each,
    concludes_first=True,
)
def create(
    settings: Settings,
    as_json: bool,
    directory: Path | None,
    key: str,
    public: Path | None,
    to_stdout: bool,
    first: bool,
    wait_for_standby: bool,
    timeout: float | None,
    without: tuple[str, ...],
    keys: list[Key],
) -> None:
    """Sign where every log stands now, and write it to DIRECTORY.

    The rows are on disk before anything is signed. The last checkpoint in DIRECTORY is compared first: if this
    log is not its continuation, nothing is written, and the exit code is 1. Nothing is ever overwritten, and nothing
    need be removed: what cannot be read is named, and the last one that can be read is compared instead.
    --trust names other keys whose checkpoints in DIRECTORY are believed, after a change of keys. --without leaves out a
    run that must not be relied on, and stands in the way.

    On a standby this is refused: exit 3.

    \b
    Examples:
      alpha-db checkpoint create --key checkpoint.key /mnt/checkpoints/trading
      alpha-db checkpoint create --key checkpoint.key /mnt/checkpoints/trading \\
        --wait-for-standby --timeout 300
      alpha-db checkpoint create --key new.key \\
        --trust old.key.vkey /mnt/checkpoints/trading
      alpha-db checkpoint create --key exec:./kms-sign.sh --public desk.vkey \\
        /mnt/checkpoints/trading
      alpha-db checkpoint create --key checkpoint.key --stdout \\
        /mnt/checkpoints/trading
      alpha-db checkpoint create --all-schemas --key 'keys/{schema}.key' \\
        '/mnt/checkpoints/{schema}'
    """
    if directory is None and not (to_stdout and first):
        raise click.UsageError(
            "name the DIRECTORY of the checkpoints so far: without it, a log that was cut would be signed"
            " (--stdout --first, if there are none)"
        )
    if directory and first:
        raise click.UsageError("--first is for --stdout without DIRECTORY")
    if timeout is not None and not wait_for_standby:
        raise click.UsageError("--timeout is for --wait-for-standby")
    signer = open_key(SigningKey, key, public)
    if directory and not directory.is_dir():
        # never made by us: on a disk that is not mounted a new series would begin, and nothing be compared
        if directory.exists():
            raise StoreError(f"{directory} is not a directory")
        raise NotThere(
            f"there is no directory {directory}", hint=f"mkdir {directory}, if a new series begins"
        )
    if directory and is_run(directory):
        raise StoreError(f"{directory} is a run", hint=f"name the directory of the runs, {directory.parent}")
    store = Store(directory, without) if directory else None
    with settings.installed() as (conn, place), progress_bar("sealing", 1) as listener:
        made = make(
            conn,
            place,
            signer,
            store,
            trusted=keys,
            write=not to_stdout,
            standby_timeout=(_WAIT if timeout is None else timeout) if wait_for_standby else None,
            lock_timeout=settings.seconds,
            progress=listener,
        )
        lockdown = lockdown_of(conn)
    is_locked = lockdown["is_locked"] if lockdown else None
    for one in made.unreadable:
        said = f": {clean(directory)}/{clean(one.name)}: {clean(one.reason)}"
        note(("Not read, so an older checkpoint was compared with", WARN), said)
    if made.renamed:
        note(
            ("The log has another name now", WARN),
            f": {clean(signer.name)}, and was {clean(made.renamed)}. Witnesses take it for another log.",
        )
    if made.archived:
        note(
            ("Compared by the log of runs alone, because the rows of its last checkpoint are archived", WARN),
            f": {', '.join(map(clean, made.archived))}. alpha-db verify-export compares their segments.",
        )
    if made.guards_changed:
        note(
            ("The guards are not those of the last checkpoint, and are signed as they are now", WARN),
            f": alpha-db guards --checkpoints {clean(directory)}/{clean(made.previous)} names what changed.",
        )
    if is_locked:
        note(
            ("The lockdown is engaged", WARN),
            ": what is signed is the log as it stands. alpha-db lockdown status tells why.",
        )
    if made.broken:
        note(
            ("Rows are missing, so this checkpoint is without ", BAD),
            (clean(", ".join(made.broken)), BAD),
            ": alpha-db verify-chain tells which.",
        )
    if as_json:
        emit_json(_created(made, signer) | {"lockdown_engaged": is_locked})
    else:
        if to_stdout:
            put(lambda stream: stream.write(made.note))
        _tell_created(made, signer, store, err=to_stdout)
    finish(EXIT_DAMAGE if made.broken else 0)


@checkpoint.command(short_help="Verify checkpoints by themselves, without a database.")
@click.argument("paths", nargs=-1, required=True, metavar="DIR|RUN|FILE...")
@without_option
@policy_option
@trusted_keys_option(required=False)
@tsa_ca_option
@json_option
@AllSchemas(Words("hold", "not to be relied on"), must=("paths",))
def verify(
    as_json: bool,
    paths: Sequence[str],
    without: Sequence[str],
    keys: list[Key],
    policy: Policy | None,
    ca_file: Path | None,
) -> None:
    """Verify checkpoints by themselves: signatures, whole runs, sizes that never decrease. Asks no database.

    Takes directories of runs, single runs, files of them, and - for one on stdin. Exits 0 if all hold, 1 if any does
    not, 3 if something cannot be read or is no checkpoint, 5 if something is not there. All are verified, whatever is
    wrong with one of them; of several codes, 1 comes before 3 before 5. With --policy the latest run of a directory,
    and whatever else is named, must be cosigned by the policy's quorum of witnesses. With --tsa-ca it verifies
    time-stamps, too, for which it needs the program openssl.

    \b
    Examples:
      alpha-db checkpoint verify /mnt/checkpoints/trading \\
        --trust checkpoint.key.vkey
      alpha-db checkpoint verify checkpoint.note \\
        --trust 'audit.example.org/trading+0a1b2c3d+ARq…'
      alpha-db checkpoint verify --all-schemas '/mnt/checkpoints/{schema}' \\
        --trust 'keys/{schema}.key.vkey'
    """
    trusted = all_keys(keys, policy)
    stamps = verified_stamps(paths, ca_file, without)
    results = [checked for path in paths for checked in check_path(path, trusted, without, policy)]
    if as_json:
        document = {"checked": [_checked(result) for result in results]}
        emit_json(document | {"stamps": [stamp._asdict() for stamp in stamps]})
    else:
        _tell_checked(results)
        tell_stamps(stamps)
    verdicts = [one.verdict for one in results] + [one.verdict for one in stamps]
    finish(worst([CODES[verdict] for verdict in verdicts]))


CODES = {
    Verdict.HOLDS: EXIT_OK,
    Verdict.REFUSED: EXIT_DAMAGE,
    Verdict.NOT_RUN: EXIT_NOT_RUN,
    Verdict.NOT_THERE: EXIT_NOT_THERE,
}


@checkpoint.command("list")
@click.argument("directory", type=click.Path(path_type=Path, readable=False))
@json_option
@AllSchemas(Words("listed", "not listed"), must=("directory",), shows_all=True)
def list_(as_json: bool, directory: Path) -> None:
    """List the runs of a directory, in the order of their names. Verifies no signatures: that is checkpoint verify.

    Exits 0, 3 if a run or a note cannot be read (the others are listed), 5 if there is no such directory.

    \b
    Examples:
      alpha-db checkpoint list /mnt/checkpoints/trading
      alpha-db checkpoint list /mnt/checkpoints/trading --json
      alpha-db checkpoint list --all-schemas '/mnt/checkpoints/{schema}'
    """
    found: list[dict[str, Any]] = []
    for stored in Store(directory).runs():
        seen = glance(stored.files.get(NOTE, ""), stored.files.get(PROOF, ""))
        notes = [name for name in stored.files if name != PROOF and not is_like_a_note(stored.files[name])]
        cut = dict.fromkeys(notes, "it is no checkpoint, or not the whole of one")
        if PROOF in stored.files and not seen.time:
            cut[PROOF] = "it is no proof of a run, or not the whole of one"
        found.append(
            {
                "run": stored.name,
                "time": seen.time or None,
                "logs": len(seen.sizes),
                "rows": sum(seen.sizes.values()),
                "guards": seen.guards or None,
                "signer": seen.signer or None,
                "cosigned": len(stored.cosigned),
                "sizes": seen.sizes,
                "unreadable": stored.unreadable | cut,
            }
        )
    unreadable = [
        (f"{run['run']}/{name}".removesuffix("/"), reason)
        for run in found
        for name, reason in run["unreadable"].items()
    ]
    if as_json:
        emit_json(found)
    elif not found:
        line(f"There is no checkpoint in {clean(directory)}.")
    else:
        table = [
            [
                run["run"],
                (run["time"] or "-")[:19],
                f"{run['rows']:,}",
                (run["guards"] or "-")[:12],
                run["signer"] or "-",
            ]
            for run in found
        ]
        rows(table, head=("run", "time (UTC)", "rows", "guards", "signed by (not verified)"), right=[2])
        for name, reason in unreadable:
            line(("not read", WARN), f"  {clean(name)}  ", (clean(reason), WARN))
    finish(EXIT_NOT_RUN if unreadable else EXIT_OK)


def _created(made: Created, key: SigningKey) -> dict[str, Any]:
    facts = whole(made.run)
    return {
        "run": made.run.name,
        "path": None if made.path is None else str(made.path),
        "previous": made.previous,
        "guards_changed": made.guards_changed,
        "signer": key.name,
        "time": facts.time,
        "size": made.run.checkpoint.size,
        "root": made.run.checkpoint.root.hex(),
        "standbys": made.standbys,
        "broken": facts.broken,
        "unreadable": [{"name": one.name, "reason": one.reason} for one in made.unreadable],
        "logs": [
            {"table": one.table, "origin": one.origin, "size": one.size, "root": one.root.hex()}
            for one in facts.heads.values()
        ],
        "note": made.note,
        "proof": made.proof,
    }


def _tell_created(made: Created, key: SigningKey, store: Store | None, *, err: bool) -> None:
    say = note if err else line
    heads = whole(made.run).heads.values()
    total = sum(one.size for one in heads)
    say(
        (f"Checkpoint {made.run.name}", GOOD),
        f": {len(heads)} logs, {total:,} rows, signed by {clean(key.name)}.",
    )
    if made.path:
        say(("  written to  ", DIM), clean(made.path))
    if made.standbys:
        say(("  replayed by ", DIM), clean(", ".join(made.standbys)))
    if made.previous:
        older = ", from the last checkpoint of it that can be read" if made.unreadable else ""
        say(("  continues   ", DIM), f"{made.previous}, by a consistency proof for each log{older}")
    elif store:
        say(f"It is the first one in {clean(store.path)}: there was nothing to compare it with.")
    else:
        say("It was compared with nothing: no directory was named.")


def _checked(result: Checked) -> dict[str, Any]:
    run = result.run
    facts = run.facts if run else None
    return {
        "what": result.what,
        "ok": result.reason is None,
        "verdict": result.verdict.value,
        "reason": result.reason,
        "is_whole_run": facts is not None,
        "size": run.checkpoint.size if run else None,
        "root": run.checkpoint.root.hex() if run else None,
        "time": facts.time if facts else None,
        "signer": run.checkpoint.origin if run else None,
        "sizes": {table: one.size for table, one in run.logs.items()} if run else {},
        "cosigned": result.cosigned,
    }


_WORDS = {
    Verdict.HOLDS: ("ok      ", GOOD),
    Verdict.REFUSED: ("not ok  ", BAD),
    Verdict.NOT_RUN: ("not read", WARN),
    Verdict.NOT_THERE: ("absent  ", WARN),
}


def _tell_checked(results: Sequence[Checked]) -> None:
    width = max((len(clean(result.what)) for result in results), default=0)
    for result in results:
        run, (word, style) = result.run, _WORDS[result.verdict]
        if run is None:
            line((word, style), f"  {clean(result.what):<{width}}  ", (clean(result.reason), style))
            continue
        signed = run.checkpoint
        told = f"{signed.size:,} runs"
        if run.facts:
            heads = run.facts.heads.values()
            told = f"{len(heads)} logs, {sum(one.size for one in heads):,} rows"
        also = f", cosigned by {clean(', '.join(result.cosigned))}" if result.cosigned else ""
        line(
            (word, style), f"  {clean(result.what):<{width}}  {told}, signed by {clean(signed.origin)}{also}"
        )
    bad = sum(result.verdict is Verdict.REFUSED for result in results)
    unknown = sum(result.verdict is Verdict.NOT_RUN for result in results)
    absent = sum(result.verdict is Verdict.NOT_THERE for result in results)
    if bad:
        line((f"{bad} of {len(results)} must not be relied on.", BAD))
    if unknown:
        line((f"{unknown} of {len(results)} could not be read, so nothing is known of them.", WARN))
    if absent:
        line((f"There is nothing to verify in {absent} of {len(results)}.", WARN))
    if bad or unknown or absent:
        return
    line((f"All {len(results)} hold." if len(results) > 1 else "It holds.", GOOD))
    if not all(result.run and result.run.is_whole for result in results):
        line(f"A note alone does not say where the other logs stood: name its run, or {PROOF}.")
