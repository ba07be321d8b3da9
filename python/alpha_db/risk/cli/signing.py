"""What every command shares that signs: the agent's key, the text on the screen, the question, the sending."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from alpha_db.cli.common import NamedOption
from alpha_db.cli.options import FILE
from alpha_db.cli.output import BAD, DIM, HEAD, clean, emit_json, line, note
from alpha_db.errors import AlphaDbError, FileUnreadable, NotThere, shown
from alpha_db.risk.changes import worded
from alpha_db.risk.cli.shown import show_text
from alpha_db.risk.config_manager import Agent, ConfigManager, Draft, Row
from alpha_db.security.audit_signer import AuditSigner, KeyFileError
from alpha_db.security.key_option import KEY, KEY_HELP, public_half, public_option
from alpha_db.security.key_spec import is_file
from alpha_db.security.private_file import KeyFileNotThere
from alpha_db.security.reading import read_text

yes_option = click.option("--yes", is_flag=True, help="Do not ask before signing.")
passphrase_option = click.option(
    "--passphrase-file",
    metavar="FILE",
    type=FILE,
    envvar="ALPHA_DB_PASSPHRASE_FILE",
    help="The first line of this file is the key's passphrase; default: ask.",
)
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def lifetime_of(_ctx: click.Context, _param: click.Parameter, value: str) -> timedelta:
    """Return a length of time such as 30m, 24h or 7d; fails for anything else."""
    found = re.fullmatch(r"([1-9][0-9]{0,3})([mhd])", value)
    if not found:
        raise click.BadParameter(f"{shown(value)} is not a time such as 30m, 24h or 7d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


@dataclass(frozen=True)
class Signing:
    """What the options say of who signs, and how."""

    agent: str | None
    key: str
    passphrase_file: Path | None
    yes: bool
    public: Path | None = None

    def open(self, manager: ConfigManager) -> tuple[Agent, AuditSigner]:
        """Read the key and find its agent. Raises KeyFileError, SignerError, SignatureRefused (RSK-003)."""
        signer = load_key(self.key, self.passphrase_file, self.public)
        return manager.agent_of(signer, self.agent), signer


def load_key(key: str, passphrase_file: Path | None, public: Path | None = None) -> AuditSigner:
    """Find a private key, asking for the passphrase of a file on a terminal if it needs one.

    `public` is the file of its public half. Raises KeyFileError, SignerError, NotThere, FileUnreadable, UsageError.
    """
    half = public_half(key, public)
    if passphrase_file is not None and is_file(key):
        return AuditSigner.open(key, read_passphrase(passphrase_file), half)
    try:
        return AuditSigner.open(key, None, half)
    except KeyFileError as problem:
        if "needs a passphrase" not in problem.message:
            raise
        if not sys.stdin.isatty():
            problem.hint = problem.hint or "--passphrase-file, or a terminal to ask on"
            raise
    return AuditSigner.open(key, click.prompt(f"Passphrase of {key}", hide_input=True, err=True), half)


def read_passphrase(file: Path) -> str:
    """Return the first line of a file. Raises KeyFileError."""
    try:
        passphrase = read_text(file, most=64 * 1024).split("\n")[0].rstrip("\r")
    except NotThere as problem:
        raise KeyFileNotThere(f"cannot read the passphrase: {problem.message}") from None
    except FileUnreadable as problem:
        raise KeyFileError(f"cannot read the passphrase: {problem.message}", hint=problem.hint) from None
    if not passphrase:
        raise KeyFileError(f"the first line of {file} is empty")
    return passphrase


def key_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --agent, --key, --public, --passphrase-file and --yes; the function gets ``signing``."""

    @click.option(
        "--agent",
        metavar="NAME",
        envvar="ALPHA_DB_AGENT",
        help="Name or id of the agent that signs; default: the key's.",
    )
    @click.option(
        "--key",
        metavar="KEY",
        type=KEY,
        envvar="ALPHA_DB_KEY",
        required=True,
        help=KEY_HELP,
    )
    @public_option
    @passphrase_option
    @yes_option
    @functools.wraps(function)
    def wrapper(
        agent: str | None,
        key: str,
        public: Path | None,
        passphrase_file: Path | None,
        yes: bool,
        **kwargs: Any,
    ) -> Any:
        return function(signing=Signing(agent, key, passphrase_file, yes, public), **kwargs)

    return wrapper


def proposal_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --reason, --expires-in and the key's options."""
    function = key_options(function)
    function = click.option(
        "--expires-in",
        "lifetime",
        metavar="TIME",
        callback=lifetime_of,
        default="24h",
        show_default=True,
        cls=NamedOption,
        help="After this time it cannot be applied any more: 30m, 24h, 7d.",
    )(function)
    return click.option("--reason", metavar="TEXT", required=True, help="Why; stands in the signed text.")(
        function
    )


def send_proposal(
    manager: ConfigManager,
    signing: Signing,
    kind: str,
    payload: Mapping[str, Any],
    *,
    reason: str,
    lifetime: timedelta,
    as_json: bool,
    changes: list[tuple[str, str, str]],
    opened: tuple[Agent, AuditSigner] | None = None,
    also: Mapping[str, Any] | None = None,
) -> None:
    """Show a proposal, ask, sign and send it, and tell what came of it.

    `changes` are name, old and new value of what it changes; `opened` is the agent, if its key was read already;
    `also` is what the answer in JSON has besides. Raises the RSK codes of propose().
    """
    agent, signer = opened or signing.open(manager)
    draft = manager.draft(kind, payload, reason=reason, proposer=agent.agent_id, lifetime=lifetime)
    if not as_json or not signing.yes:
        _show_draft(draft, agent, changes, err=as_json)
    ask("Sign and send this proposal?", signing)
    stored = manager.propose(draft, signer)
    document: Row = {
        "proposal_id": draft.proposal_id,
        "kind": draft.kind,
        "payload": draft.payload,
        "reason": draft.reason,
        "proposer": {"agent_id": agent.agent_id, "name": agent.name},
        "changes": [{"name": name, "old": old, "new": new} for name, old, new in changes],
        "direction": draft.direction,
        "approvals_needed": draft.needed,
        "previous": draft.previous,
        "expires_at": draft.expires_at,
        "digest": stored["digest"],
        "signed_text": draft.text,
        "status": "PENDING",
        **(also or {}),
    }
    if as_json:
        emit_json(document)
        return
    line(("Proposed ", ""), (str(draft.proposal_id), HEAD))
    line(f"Now {_others(draft.needed)} must approve it: alpha-db risk approve {draft.proposal_id}")


def show_bootstrap(text: str, names: list[str]) -> None:
    """Show the text of a bootstrap on stderr, for stdout has what is to be kept."""
    note((f"What {', '.join(map(clean, names))} signs:", DIM))
    show_text(text, note)


def ask(question: str, signing: Signing) -> None:
    """Ask on the terminal. Raises AlphaDbError (exit 3) if the answer is no."""
    ask_yes(question, signing.yes)


def ask_yes(question: str, yes: bool) -> None:
    """As ask(), for commands that do not sign as an agent who is enrolled already."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on: look at it, then give --yes")
    if not click.confirm(question, err=True):
        raise AlphaDbError("nothing was sent, because the answer was no")


def _show_draft(draft: Draft, agent: Agent, changes: list[tuple[str, str, str]], *, err: bool) -> None:
    say = note if err else line
    width = max((len(clean(name)) for name, _, _ in changes), default=0)
    for name, old, new in changes:
        say(
            f"{clean(name):<{width}}  {worded(name, clean(old))} ", ("→", DIM), f" {worded(name, clean(new))}"
        )
    if draft.needed is None:
        say(("The log could not be verified, so it is not known what this needs.", BAD))
    else:
        said = {"tighten": "This tightens", "loosen": "This loosens", "govern": "This changes who decides"}
        say(f"{said[str(draft.direction)]}: it needs {_others(draft.needed)}.")
    say((f"What {clean(agent.name)} signs:", DIM))
    show_text(draft.text, say)


def _others(needed: int | None) -> str:
    return "others" if needed is None else "one other agent" if needed == 1 else f"{needed} other agents"
