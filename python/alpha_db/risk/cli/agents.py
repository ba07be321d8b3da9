"""alpha-db agents: who may propose and vote, and with which keys."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import click

from alpha_db.cli.common import NamedOption, Settings, database_options, debug_option, json_option
from alpha_db.cli.options import FILE
from alpha_db.cli.output import DIM, HEAD, clean, emit_json, line, write_json
from alpha_db.errors import FileUnreadable, NotThere, SignatureRefused
from alpha_db.risk.cli.signing import (
    Signing,
    ask_yes,
    load_key,
    passphrase_option,
    proposal_options,
    read_passphrase,
    send_proposal,
    show_bootstrap,
    yes_option,
)
from alpha_db.risk.config_manager import ConfigManager, Row
from alpha_db.security.audit_signer import AuditSigner, bootstrap_text
from alpha_db.security.key_option import KEY, KEY_HELP, PUBLIC_HELP, name_of_key, public_option
from alpha_db.security.key_spec import EXEC, is_file
from alpha_db.security.payloads import check_name, key_of
from alpha_db.security.reading import read_answer
from alpha_db.shell.columns import rows

MEMBERS = ("agent_id", "name", "role", "public_key")
SIGNED = (*MEMBERS, "signature")


def _described(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --name and --role."""
    name = click.option(
        "--name", metavar="NAME", help="What people call the agent; default: the file's name, or the comment."
    )
    role = click.option(
        "--role", metavar="ROLE", default="risk", show_default=True, help="What it does, in a word or two."
    )
    return name(role(function))


@click.group()
def agents() -> None:
    """Agents: who may propose and vote, and with which keys."""


@agents.command(short_help="Make a key.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=FILE,
    required=True,
    help="Where the private key goes; never overwritten.",
)
@_described
@click.option("--encrypt", is_flag=True, help="Encrypt the key with a passphrase.")
@passphrase_option
@click.option(
    "--format",
    "form",
    type=click.Choice(("pkcs8", "openssh")),
    default="pkcs8",
    show_default=True,
    cls=NamedOption,
    help="PKCS#8, which openssl reads, or OpenSSH's form, which ssh-add reads.",
)
@json_option
@debug_option
def keygen(
    output: Path,
    name: str | None,
    role: str,
    encrypt: bool,
    passphrase_file: Path | None,
    form: Literal["pkcs8", "openssh"],
    as_json: bool,
) -> None:
    """Make an agent's key: the private key in a file of mode 0600, the public half on the screen.

    Needs no database. What --json prints is what sign-bootstrap, bootstrap, enrol and rotate take. A key that is to be
    in an HSM or a key service is made there: agents show prints its public half.

    \b
    Examples:
      alpha-db agents keygen --output ada.key --name ada --json > ada.json
      alpha-db agents keygen --output ada.key --name ada --encrypt
      alpha-db agents keygen --output ada.key --format openssh && ssh-add ada.key
    """
    name = _checked_name(name, role, output.stem)
    passphrase = None
    if passphrase_file is not None:
        passphrase = read_passphrase(passphrase_file)
    elif encrypt:
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask for a passphrase on: give --passphrase-file")
        passphrase = click.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True)
    signer = AuditSigner.generate()
    signer.save(output, passphrase, form)
    _print_agent(signer, name, role, as_json=as_json)
    if as_json:
        return
    kept = "encrypted" if passphrase else "not encrypted"
    line((f"The private key is in {clean(output)}, {kept}. Nobody else needs it, and no database.", DIM))


@agents.command(short_help="Show the public half of a key.")
@click.option("--key", metavar="KEY", type=KEY, envvar="ALPHA_DB_KEY", required=True, help=KEY_HELP)
@public_option
@_described
@passphrase_option
@json_option
@debug_option
def show(
    key: str,
    public: Path | None,
    name: str | None,
    role: str,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Show the public half of a key: agent_id, public key and fingerprint.

    Needs no database. What --json prints is what sign-bootstrap, bootstrap, enrol and rotate take; the agent's
    name and role do not stand in the key: give those that keygen was given. A key that is in no file signs a text
    that approves nothing, so that you see that it works before anybody relies on it.

    \b
    Examples:
      alpha-db agents show --key ben.key
      alpha-db agents show --key ben.key --name ben --json > ben.json
      alpha-db agents show --key ssh-agent:ben --json > ben.json
      alpha-db agents show --key exec:./kms-sign.sh --public ben.pem
    """
    signer = load_key(key, passphrase_file, public)
    name = _checked_name(name, role, name_of_key(key, public))
    signer.try_to_sign()
    _print_agent(signer, name, role, as_json=as_json)
    if not as_json and not is_file(key):
        line(("It signs: it was given a text that approves nothing, and the signature holds.", DIM))


@agents.command("sign-bootstrap", short_help="Sign the list of the first agents.")
@click.argument("files", metavar="FILE.json...", nargs=-1, type=FILE, required=True)
@click.option("--key", metavar="KEY", type=KEY, required=True, help=KEY_HELP)
@public_option
@passphrase_option
@yes_option
@database_options
def sign_bootstrap(
    settings: Settings,
    as_json: bool,
    files: tuple[Path, ...],
    key: str,
    public: Path | None,
    passphrase_file: Path | None,
    yes: bool,
) -> None:
    """Sign the list of the first agents with the key of one of them, and print that agent for bootstrap.

    Every agent does so once it has the files of all, as keygen --json printed them, in any order. The
    database is asked for nothing but the identity of the installation.

    \b
    Example:
      alpha-db agents sign-bootstrap --key ada.key ada.json ben.json cyd.json \\
        > ada.signed.json
    """
    given = [agent for file in files for agent in _read_agents(file, may_be_signed=True)]
    signer = load_key(key, passphrase_file, public)
    with settings.installed() as (conn, _):
        origin = ConfigManager(conn).active()["origin"]
    text = bootstrap_text(origin, given)
    mine = _of_key(given, signer)
    show_bootstrap(text, [mine["name"]])
    ask_yes("Sign this bootstrap?", yes)
    signed = {member: mine[member] for member in MEMBERS} | {"signature": signer.sign(text).hex()}
    (emit_json if as_json else write_json)(signed)


@agents.command(short_help="Enrol the first agents, once.")
@click.argument("files", metavar="FILE.json...", nargs=-1, type=FILE, required=True)
@click.option(
    "--key",
    "keys",
    metavar="KEY",
    type=KEY,
    multiple=True,
    help=KEY_HELP,
)
@click.option("--public", "publics", metavar="FILE", type=FILE, multiple=True, help=PUBLIC_HELP)
@yes_option
@database_options
def bootstrap(
    settings: Settings,
    as_json: bool,
    files: tuple[Path, ...],
    keys: tuple[str, ...],
    publics: tuple[Path, ...],
    yes: bool,
) -> None:
    """Enrol the first agents, three or more, as the owner of the installation. It can be done once.

    Each of them signs the whole list, so that an agent who is added or replaced later by force shows. A file
    holds an agent, as sign-bootstrap prints it, or an array of them. For those whose keys are here, what
    keygen --json printed and --key, once for each, suffice; --public, too, once for each key that is a command.

    On a standby this is refused: exit 3.

    \b
    Examples:
      alpha-db --dsn service=owner agents bootstrap \\
        ada.signed.json ben.signed.json cyd.signed.json
      alpha-db agents bootstrap a.json b.json c.json --key a.key --key b.key \\
        --key c.key
    """
    given = [agent for file in files for agent in _read_agents(file, may_be_signed=True)]
    signers = [load_key(key, None, public) for key, public in _with_public(keys, publics)]
    with settings.installed(writes=True) as (conn, _):
        manager = ConfigManager(conn)
        if signers:
            text = bootstrap_text(manager.active()["origin"], given)
            mine = [_of_key(given, signer) for signer in signers]
            show_bootstrap(text, [agent["name"] for agent in mine])
            ask_yes("Sign this bootstrap and enrol these agents?", yes)
            for agent, signer in zip(mine, signers, strict=True):
                agent["signature"] = signer.sign(text).hex()
        if unsigned := [str(agent["name"]) for agent in given if "signature" not in agent]:
            raise SignatureRefused(
                f"RSK-003: {', '.join(unsigned)} did not sign the bootstrap",
                hint="alpha-db agents sign-bootstrap, or --key",
                sqlstate="RSK03",
            )
        enrolled = manager.bootstrap(given)
        origin = manager.active()["origin"]
    if as_json:
        emit_json({"origin": origin, "agents": enrolled})
        return
    rows(
        [[row[member] for member in ("name", "role", "agent_id", "public_key")] for row in enrolled],
        head=("name", "role", "agent_id", "public_key"),
    )
    line(
        "Pin these keys outside the database: alpha-db agents list --pins > keys.json, then compare it by eye."
    )


@agents.command("list", short_help="List the agents.")
@click.option("--all", "every", is_flag=True, cls=NamedOption, help="Also those that are revoked.")
@click.option("--pins", is_flag=True, help="Print a file of pinned keys: the agents of the bootstrap.")
@database_options
def list_(settings: Settings, as_json: bool, every: bool, pins: bool) -> None:
    """List the agents with their public keys.

    \b
    Examples:
      alpha-db agents list
      alpha-db agents list --all --json
      alpha-db agents list --pins > keys.json
    """
    with settings.installed() as (conn, _):
        manager = ConfigManager(conn)
        known = manager.agents()
        origin = manager.active()["origin"] if pins else None
    if pins:
        first = {str(agent.agent_id): agent.public_key for agent in known if agent.proposal_id is None}
        if not first:
            raise NotThere("there are no agents yet, so no key to pin", hint="alpha-db agents bootstrap")
        (emit_json if as_json else write_json)({"origin": origin, **first})
        return
    shown = [agent for agent in known if every or agent.revoked_at is None]
    if as_json:
        emit_json([vars(agent) for agent in shown])
    elif shown:
        head = ("name", "role", "agent_id", "public_key", "enrolled", *(("revoked",) if every else ()))
        lines = [
            [a.name, a.role, a.agent_id, a.public_key, a.enrolled_at, a.revoked_at][: len(head)]
            for a in shown
        ]
        rows(lines, head=head, styles=[HEAD if agent.revoked_at is None else DIM for agent in shown])
    else:
        line("There are no agents yet: alpha-db agents bootstrap.")


@agents.command(short_help="Propose a further agent.")
@click.argument("file", metavar="FILE.json", type=FILE)
@proposal_options
@database_options
def enrol(
    settings: Settings, as_json: bool, signing: Signing, file: Path, reason: str, lifetime: timedelta
) -> None:
    """Propose that an agent be enrolled, as keygen --json printed it.

    On a standby this is refused: exit 3.

    \b
    Example:
      alpha-db agents enrol dan.json --reason "night shift" --agent ada \\
        --key ada.key
    """
    _propose_agent(settings, as_json, signing, file, None, reason, lifetime)


@agents.command(short_help="Propose a new key in the place of an agent's.")
@click.argument("whom", metavar="AGENT")
@click.argument("file", metavar="FILE.json", type=FILE)
@proposal_options
@database_options
def rotate(
    settings: Settings,
    as_json: bool,
    signing: Signing,
    whom: str,
    file: Path,
    reason: str,
    lifetime: timedelta,
) -> None:
    """Propose that a new agent take the place of AGENT, as when a key is lost. AGENT has no vote on it.

    On a standby this is refused: exit 3.

    \b
    Example:
      alpha-db agents rotate cyd cyd2.json --reason "laptop stolen" --agent ada \\
        --key ada.key
    """
    _propose_agent(settings, as_json, signing, file, whom, reason, lifetime)


@agents.command(short_help="Propose that an agent may no longer vote.")
@click.argument("whom", metavar="AGENT")
@proposal_options
@database_options
def revoke(
    settings: Settings, as_json: bool, signing: Signing, whom: str, reason: str, lifetime: timedelta
) -> None:
    """Propose that AGENT may no longer propose or vote. AGENT has no vote on it.

    On a standby this is refused: exit 3.

    \b
    Example:
      alpha-db agents revoke cyd --reason "left" --agent ada --key ada.key
    """
    with settings.installed(writes=True) as (conn, _):
        manager = ConfigManager(conn)
        gone = manager.find_agent(whom)
        send_proposal(
            manager,
            signing,
            "agent_revoke",
            {"agent_id": str(gone.agent_id)},
            reason=reason,
            lifetime=lifetime,
            as_json=as_json,
            changes=[(f"agent {gone.name}", "active", "revoked")],
        )


def _propose_agent(
    settings: Settings,
    as_json: bool,
    signing: Signing,
    file: Path,
    replaces: str | None,
    reason: str,
    lifetime: timedelta,
) -> None:
    found = _read_agents(file)
    if len(found) != 1:
        raise FileUnreadable(f"{file} holds {len(found)} agents; one is enrolled at a time")
    with settings.installed(writes=True) as (conn, _):
        manager = ConfigManager(conn)
        old = manager.find_agent(replaces) if replaces else None
        changes = [(f"agent {found[0]['name']}", "not enrolled", "active")]
        if old:
            changes.append((f"agent {old.name}", "active", "replaced"))
        send_proposal(
            manager,
            signing,
            "agent_enrol",
            {**found[0], "replaces": str(old.agent_id) if old else None},
            reason=reason,
            lifetime=lifetime,
            as_json=as_json,
            changes=changes,
        )


def _with_public(keys: tuple[str, ...], publics: tuple[Path, ...]) -> list[tuple[str, Path | None]]:
    """Return each key with the file of its public half: the first command has the first file."""
    waiting = list(publics)
    found = [(key, waiting.pop(0) if key.startswith(EXEC) and waiting else None) for key in keys]
    if waiting:
        raise click.UsageError("--public is for keys that are commands: there are more files than these")
    return found


def _checked_name(name: str | None, role: str, default: str) -> str:
    """Return the agent's name, by default that of its key. Raises a usage error for a bad name or role."""
    name = default if name is None else name
    try:
        check_name(name, role)
    except ValueError as problem:
        raise click.UsageError(f"{problem}, all of them visible: give another --name or --role") from None
    return name


def _print_agent(signer: AuditSigner, name: str, role: str, *, as_json: bool) -> None:
    members = (str(signer.agent_id), name, role, signer.public_key_hex)
    agent = dict(zip(MEMBERS, members, strict=True))
    if as_json:
        emit_json(agent)
        return
    shown = [*agent.items(), ("fingerprint", signer.fingerprint)]
    rows([[member, value] for member, value in shown], styles=[DIM] * len(shown))


def _of_key(agents: list[Row], signer: AuditSigner) -> Row:
    """Return the agent whose key this is. Raises SignatureRefused (RSK-003)."""
    for agent in agents:
        if agent["public_key"] == signer.public_key_hex:
            return agent
    raise SignatureRefused(
        f"RSK-003: none of these agents has the key {signer.public_key_hex}",
        hint="give the files of all agents, the key's own too",
        sqlstate="RSK03",
    )


def _read_agents(file: Path, *, may_be_signed: bool = False) -> list[Row]:
    """Return the agents of a file. Raises what read_answer raises, SignatureRefused (RSK-003) for a bad key."""
    said: Any = read_answer(file)
    found = said if isinstance(said, list) else [said]
    for agent in found:
        allowed = (MEMBERS, SIGNED) if may_be_signed else (MEMBERS,)
        if not isinstance(agent, dict) or set(agent) not in map(set, allowed):
            raise FileUnreadable(f"{file}: an agent is {', '.join(MEMBERS)}, no more and no less")
        try:
            key_of(agent["public_key"])
        except ValueError as problem:
            raise SignatureRefused(
                f"RSK-003: {problem}", hint="alpha-db agents keygen", sqlstate="RSK03"
            ) from None
    return found
