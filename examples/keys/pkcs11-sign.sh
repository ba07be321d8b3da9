#!/bin/sh
# Signs with an Ed25519 key in a PKCS#11 token (an HSM, a smart card, SoftHSM2), for
# alpha-db --key "exec:pkcs11-sign.sh MODULE TOKEN LABEL" --public FILE
#
# MODULE is the library of the token's maker, TOKEN and LABEL name the token and the key in it. PKCS11_PIN is the PIN;
# without it, the terminal is asked. The text comes on stdin; the signature goes to stdout. Needs pkcs11-tool (Debian: opensc).
# The public half:  pkcs11-tool --module MODULE --token-label TOKEN --read-object --type pubkey --label LABEL > ada.pem
set -eu
[ $# -eq 3 ] || { echo "usage: pkcs11-sign.sh MODULE TOKEN LABEL" >&2 && exit 2; }

if [ -z "${PKCS11_PIN:-}" ]; then
    (: >/dev/tty) 2>/dev/null || { echo "set PKCS11_PIN: there is no terminal to ask for the PIN on" >&2 && exit 3; }
    trap 'stty echo </dev/tty' EXIT
    trap 'exit 1' INT TERM
    stty -echo </dev/tty
    printf 'PIN of the token %s: ' "$2" >/dev/tty
    read -r PKCS11_PIN </dev/tty
    echo >/dev/tty
    export PKCS11_PIN
fi
pkcs11-tool --module "$1" --token-label "$2" --login --pin env:PKCS11_PIN --sign --mechanism EDDSA --label "$3" && exit
[ "$(wc -c </dev/stdin)" -le 1024 ] || echo "pkcs11-tool signs no text of more than 1,024 bytes" >&2
exit 1
