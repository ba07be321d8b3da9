#!/bin/sh
# Signs with an Ed25519 key in AWS KMS, for alpha-db --key "exec:aws-kms-sign.sh KEY_ID" --public FILE
#
# KEY_ID is an id, an ARN or an alias of a key of the spec ECC_NIST_EDWARDS25519; `aws` finds its account and region as
# ever. The text comes on stdin; the base64 of the signature goes to stdout. KMS signs no text of more than 4,096 bytes.
# The public half:  aws kms get-public-key --key-id KEY_ID --query PublicKey --output text > desk.pub
set -eu
[ $# -eq 1 ] || { echo "usage: aws-kms-sign.sh KEY_ID" >&2 && exit 2; }
# RAW and ED25519_SHA_512 sign the text itself; ED25519_PH_SHA_512 would sign its hash, which does not hold here
exec aws kms sign --key-id "$1" --message fileb:///dev/stdin --message-type RAW \
    --signing-algorithm ED25519_SHA_512 --query Signature --output text
