"""Signs for the sessions, which call it as $SIGN: with the key of an agent, the same in every run.

$SIGN NAME signs the text in the environment variable TEXT, and prints the signature in hex.
$SIGN NAME public prints the public key.
"""

import hashlib
import os
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

key = Ed25519PrivateKey.from_private_bytes(
    hashlib.sha256(f"alpha-db session {sys.argv[1]}".encode()).digest()
)
if sys.argv[2:] == ["public"]:
    print(key.public_key().public_bytes_raw().hex())
else:
    print(key.sign(os.environ["TEXT"].encode()).hex())
