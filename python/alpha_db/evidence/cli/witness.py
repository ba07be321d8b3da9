"""alpha-db witness."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import click

from alpha_db.cli.common import json_option
from alpha_db.cli.output import DIM, GOOD, clean, emit_json, line, note
from alpha_db.errors import AlphaDbError
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
from alpha_db.evidence.offline_check import Key, Policy
from alpha_db.evidence.witness.judge import Judge
from alpha_db.evidence.witness.keys import WitnessKey
from alpha_db.evidence.witness.request import PATH
from alpha_db.evidence.witness.server import WitnessServer
from alpha_db.evidence.witness.state import create, opened
from alpha_db.verify.cli.checkpoint_options import policy_option, trusted_keys_option

_FILE = click.Path(path_type=Path, readable=False)
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\s/]+)):([0-9]{1,5})")

state_option = click.option(
    "--state",
    metavar="FILE",
    required=True,
    type=_FILE,
    help="What the witness remembers: the last checkpoint of each log that it cosigned.",
)


@click.group(short_help="Cosign the checkpoints of others, so that no log can fork.")
def witness() -> None:
    """A witness cosigns checkpoints of logs that only grew, so that no log can be cut or forked unnoticed.

    It runs where the database's owner has no rights: on your own second machine, or your auditor's.
    """


@witness.command(short_help="Make the key of a witness.")
@click.option(
    "--name", metavar="NAME", required=True, help="Name of the witness, which stands in every signature."
)
@output_option
@json_option
def keygen(as_json: bool, name: str, output: Path) -> None:
    """Make the key of a witness; print its public half, as a policy takes it.

    \b
    Examples:
      alpha-db witness keygen --name auditor.example/witness -o witness.key
    """
    key, public = make_pair(WitnessKey, name, output)
    if as_json:
        emit_json(_described(key) | {"private_file": str(output), "public_file": str(public)})
        return
    line(key.vkey)
    note(("private  ", DIM), f"{clean(output)}: keep it where the witness runs, and nowhere else")
    note(("public   ", DIM), f"{clean(public)}: put it into the policy of everybody who verifies")


@witness.command(short_help="Print the public half of a witness's key.")
@private_key_option
@name_option
@public_option
@json_option
def show(as_json: bool, key: str, name: str | None, public: Path | None) -> None:
    """Print the public half of a witness's key, as a policy and --public take it.

    A key that is in no file is given its name here, and signs a text that is no checkpoint, to show that it works.

    \b
    Examples:
      alpha-db witness show --key witness.key > witness.key.vkey
      alpha-db witness show --key ssh-agent:witness \\
        --name auditor.example/witness > witness.vkey
    """
    found = show_key(WitnessKey, key, name, public)
    if as_json:
        emit_json(_described(found))
    else:
        line(found.vkey)


@witness.command(short_help="Begin the state file of a new witness.")
@state_option
@json_option
def init(as_json: bool, state: Path) -> None:
    """Begin the state file of a new witness, once. Never overwrites.

    A witness that lost its memory would cosign a fork. So serve never begins a file by itself: if the file is gone,
    bring it back.

    \b
    Examples:
      alpha-db witness init --state /var/lib/alpha-db-witness/state.json
    """
    if not state.name:
        raise click.UsageError("--state names no file")
    create(state)
    if as_json:
        emit_json({"state": str(state)})
    else:
        line((f"{clean(state)}", GOOD), ": a witness that has cosigned nothing yet.")


@witness.command(short_help="Run a witness that logs ask for cosignatures.")
@state_option
@click.option(
    "--listen",
    metavar="ADDRESS",
    required=True,
    help="Where it listens: HOST:PORT or [IPV6]:PORT; port 0: any.",
)
@private_key_option
@vkey_option
@policy_option
@trusted_keys_option(required=False)
@json_option
def serve(
    as_json: bool,
    state: Path,
    listen: str,
    key: str,
    public: Path | None,
    policy: Policy | None,
    keys: list[Key],
) -> None:
    """Run a witness (c2sp.org/tlog-witness), until it is stopped by SIGTERM or Ctrl-C.

    It knows the logs that --trust or the policy name; a key's name is the log's origin. It cosigns a checkpoint only
    if it follows from the last one that it cosigned, and has that on disk before it answers. A line on stderr tells
    each answer. POST /add-checkpoint is answered with 200, 400, 403, 404, 409 or 422 as the standard says.

    \b
    Examples:
      alpha-db witness serve --state state.json --listen 127.0.0.1:7380 \\
        --key witness.key --trust checkpoint.key.vkey
      alpha-db witness serve --state state.json --listen '[::]:7380' \\
        --key witness.key --policy witnesses.policy
    """
    logs = [*keys, *(policy.logs if policy else ())]
    if not logs:
        raise click.UsageError("name a log that is to be cosigned: --trust, or a line 'log' in the policy")
    address = _address(listen)
    signer = open_key(WitnessKey, key, public)
    say = note if as_json else line
    with opened(state, signer) as memory:
        judge = Judge(signer, logs, memory)
        try:
            server = WitnessServer(address, judge, lambda text: note(clean(text)))
        except OSError as problem:
            raise AlphaDbError(f"cannot listen on {listen}: {problem.strerror or problem}") from None
        try:
            for name in sorted({log.name for log in logs}):
                latest = memory.latest(name)
                known = f"cosigned last at size {latest.size}" if latest else "nothing cosigned yet"
                say(("log  ", DIM), f"{clean(name)}: {known}")
            say((f"Witness {clean(signer.name)}", GOOD), f" listens on {server.url}{PATH}")
            _until_stopped(server)
        finally:
            judge.end()
            server.server_close()
    if as_json:
        emit_json(_described(signer) | {"url": server.url, "answers": dict(server.answers)})


class _Stopped(Exception):  # noqa: N818
    """The process is to end."""


def _until_stopped(server: WitnessServer) -> None:
    def stop(_number: int, _frame: object) -> None:
        raise _Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        server.serve_forever(poll_interval=0.25)
    except (_Stopped, KeyboardInterrupt):
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _address(listen: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(listen)
    if not found or int(found[3]) > 65535:
        raise click.BadParameter("HOST:PORT, or [IPV6]:PORT", param_hint="--listen")
    return found[1] or found[2], int(found[3])


def _described(key: WitnessKey) -> dict[str, Any]:
    return {"name": key.name, "key_id": key.key_id.hex(), "vkey": key.vkey}
