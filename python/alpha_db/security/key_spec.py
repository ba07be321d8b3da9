"""Where a key is, as --key says it: FILE, ssh-agent:COMMENT or exec:COMMAND.

A file whose name begins as the others do is written ./exec:name.
"""

from __future__ import annotations

from alpha_db.errors import ValueRefused
from alpha_db.security.exec_key import ExecKey, words_of
from alpha_db.security.signer import Signer, SignerError, public_bytes
from alpha_db.security.ssh_agent import SshAgentKey

SSH_AGENT, EXEC = "ssh-agent:", "exec:"


def is_file(key: str) -> bool:
    """Return whether a key is one in a file. Raises ValueRefused for a kind of key that says nothing more."""
    if key.startswith(SSH_AGENT):
        if key == SSH_AGENT:
            raise ValueRefused("there is no comment after ssh-agent:", hint="ssh-add -l lists them")
        return False
    if key.startswith(EXEC):
        words_of(key.removeprefix(EXEC))
        return False
    return True


def shown_key(key: str) -> str:
    """Return a key as errors may name it: of a command the program alone, because the rest may be a secret."""
    return key if is_file(key) or key.startswith(SSH_AGENT) else f"{EXEC}{words_of(key[len(EXEC) :])[0]}"


def open_outside(key: str, public_key: bytes | None = None) -> Signer:
    """Return the signer of ssh-agent:COMMENT or exec:COMMAND. The latter needs the public key, 32 bytes.

    Raises SignerError, also if the agent's key is not of this public key; ValueRefused for any other text.
    """
    if is_file(key):
        raise ValueRefused("the key is a file", hint="Give ssh-agent:COMMENT or exec:COMMAND.")
    if key.startswith(EXEC):
        if public_key is None:
            raise ValueRefused("a key that is a command needs its public half", hint="--public FILE")
        return ExecKey(key.removeprefix(EXEC), public_key)
    signer = SshAgentKey(key.removeprefix(SSH_AGENT))
    require_public(signer, public_key, key)
    return signer


def require_public(signer: Signer, public_key: bytes | None, key: str) -> None:
    """Raise SignerError if a public key is given, and is not that of the signer."""
    if public_key not in (None, public_bytes(signer)):
        raise SignerError(
            f"{shown_key(key)} is not the key of which the public half was given",
            detail=f"Its public key is {public_bytes(signer).hex()}.",
            hint="Give the public half of this key to --public, or leave it out.",
        )
