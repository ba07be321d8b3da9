#!/usr/bin/env bash
# Recomputes a chain with only sha256sum: no database, and none of our code (docs/chain-format.md).
#   psql -X -At -F "$(printf '\t')" -c "select id, row_hash, row_data from chain_rows('signals')" |
#     examples/check-chain.sh signals
# For a part of a chain: examples/check-chain.sh signals 1000 HASH_OF_ROW_1000
set -euo pipefail
export LC_ALL=C

usage() { echo "usage: check-chain.sh TABLE [LAST_ID LAST_HASH] < rows" >&2 && exit 2; }
case $# in
  1) [[ -n $1 ]] || usage ;;
  3) [[ $1 && $2 =~ ^(0|[1-9][0-9]{0,17})$ && $3 =~ ^[0-9a-f]{64}$ ]] || usage ;;
  *) usage ;;
esac
table=$1
id=${2:-0}
hash=${3:-$(printf 'alpha-db/chain/v1/%s' "$table" | sha256sum | cut -d ' ' -f 1)}
first=$((id + 1))

while IFS=$'\t' read -r row_id stored row_data; do
  id=$((id + 1))
  [ "$row_id" = "$id" ] || { echo "row $id of $table is missing, or stands elsewhere: found $row_id"; exit 1; }
  # The previous hash as 32 raw bytes, then the text of the row.
  hash=$({ printf "$(sed 's/../\\x&/g' <<< "$hash")"; printf '%s' "$row_data"; } | sha256sum | cut -d ' ' -f 1)
  [ "$hash" = "$stored" ] || { echo "row $id of $table does not give its hash: expected $hash, stored $stored"; exit 1; }
done

[ "$id" -ge "$first" ] || { echo "no rows of $table were read" >&2; exit 3; }
echo "$table: rows $first to $id fit; the last hash is $hash"
