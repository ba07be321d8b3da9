#!/bin/sh
# Approves a proposal with only psql and openssl: approve_with_psql.sh PROPOSAL_ID AGENT_ID KEY_FILE [REJECT]
#
# It connects as psql does (PGHOST, PGDATABASE, PGSERVICE ...); the role must have app_risk. It shows the proposal and
# the text that it signs; the key never leaves its file. Ed25519 needs openssl 3. ALPHA_DB_SCHEMA: the schema, if not public.
set -eu

case $# in
    3 | 4) ;;
    *) echo "usage: approve_with_psql.sh PROPOSAL_ID AGENT_ID KEY_FILE [REJECT]" >&2 && exit 2 ;;
esac
proposal=$1
agent=$2
key=$3
decision=${4:-APPROVE}

case $(openssl version) in
    OpenSSL\ [3-9]*) ;;
    *) echo "this needs openssl 3 or later" >&2 && exit 3 ;;
esac
ask() { # reads the query; pins the schema first, so that nothing in another schema comes before ours
    { echo 'set search_path = :"schema", pg_temp;' && cat; } |
        psql -XqAt -v ON_ERROR_STOP=1 -v schema="${ALPHA_DB_SCHEMA:-public}" \
            -v proposal="$proposal" -v agent="$agent" -v decision="$decision" "$@"
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The proposal, as its proposer signed it. The text ends with a line feed and psql adds another: drop the empty
# line.
echo "select signed_text from vw_proposals where proposal_id = :'proposal'" | ask >"$folder/answer" || exit 3
[ -s "$folder/answer" ] || { echo "there is no proposal $proposal" >&2 && exit 5; }
sed '$d' "$folder/answer" >"$folder/proposal"
cat "$folder/proposal"

# The exact text of the vote. It must name the digest of the proposal shown above.
now=$(date -u +%Y-%m-%dT%H:%M:%S.000000Z)
echo "select approval_message(:'proposal', :'agent', :'decision', :'now')" | ask -v now="$now" >"$folder/answer" || exit 3
sed '$d' "$folder/answer" >"$folder/text"
cat "$folder/text"
digest=$(openssl dgst -sha256 -r "$folder/proposal" | cut -d' ' -f1)
grep -qx "digest: \"$digest\"" "$folder/text" || { echo "this vote is on another text" >&2 && exit 1; }
if [ -t 0 ]; then
    printf 'Sign and send this? [y/N] ' >&2
    read -r answer && [ "$answer" = y ] || exit 3
fi

openssl pkeyutl -sign -rawin -inkey "$key" -in "$folder/text" -out "$folder/signature"
signature=$(od -An -v -tx1 "$folder/signature" | tr -d ' \n')

echo "select vote(:'proposal', :'agent', :'decision', :'now', decode(:'signature', 'hex'))" |
    ask -v now="$now" -v signature="$signature"
