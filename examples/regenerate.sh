#!/usr/bin/env bash
# Runs examples/session.sql and writes what it prints to examples/session.out, with uuids, hashes and times made alike.
#   examples/regenerate.sh            on a throw-away server of alpha-db's own
#   examples/regenerate.sh -          the same, to stdout
#   PGDATABASE=… examples/regenerate.sh   on a freshly migrated database that libpq's environment names
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/session.out}

if [ -z "${PGDATABASE:-}" ]; then
  alpha_db=$here/../.venv/bin/alpha-db
  [ -x "$alpha_db" ] || alpha_db=alpha-db
  exec "$alpha_db" server run -- "$here/regenerate.sh" "$out"
fi

# The placeholders are as long as what they stand for, so that columns stay aligned.
normalise() {
  sed -E \
    -e 's/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx/g' \
    -e 's/\b[0-9a-f]{64}\b/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/g' \
    -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]+)?\+00:00/YYYY-MM-DDThh:mm:ss.ssssss+00:00/g' \
    -e 's/ +$//'
}

# From stdin, so that errors name no file; the echo and the errors in their order, as pg_regress does it.
text=$(psql -X -a -v ON_ERROR_STOP=0 < "$here/session.sql" 2>&1 | normalise)
if [ "$out" = - ]; then printf '%s\n' "$text"; else printf '%s\n' "$text" > "$out"; fi
