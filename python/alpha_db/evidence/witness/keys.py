"""The key of a witness, whose signatures say when. Source: c2sp.org/tlog-cosignature, Ed25519 (cosignature/v1).

    public   <name>+<key id, 8 hex>+<base64 of 0x04 and the 32 bytes of the public key>

A key signs checkpoints or cosigns them, never both: the byte before it tells, and each command refuses the other kind.
"""

from __future__ import annotations

import base64
from time import time
from typing import ClassVar

from alpha_db.evidence.checkpoint.keys import SigningKey
from alpha_db.evidence.offline_check import KEY_OF_WITNESS


class WitnessKey(SigningKey):
    """The private key of a witness, and its name."""

    kind: ClassVar[bytes] = bytes([KEY_OF_WITNESS])
    use: ClassVar[tuple[str, str]] = "a witness", "alpha-db witness keygen"

    def cosign(self, text: str, seconds: int) -> str:
        """Return the signature line (with its LF) for a note's text, at a time in seconds since 1970."""
        message = f"cosignature/v1\ntime {seconds}\n{text}".encode()
        blob = self.key_id + seconds.to_bytes(8, "big") + self._private_key.sign(message)
        return f"— {self.name} {base64.b64encode(blob).decode()}\n"

    def sign(self, text: str) -> str:
        """Return the signature line for a note's text, as of now."""
        return self.cosign(text, int(time()))
