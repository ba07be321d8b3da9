#!/bin/sh
# Fetches what the Node example of docs/clients.md needs, the package pg, into the environment of the tests:
#   bin/lib/node_pg.sh .venv
# Without it that example is left out, and the page's test is reported as skipped.
set -eu
command -v node >/dev/null && command -v npm >/dev/null || { echo "node_pg: no node, or no npm" >&2; exit 3; }
[ ! -d "$1/node/node_modules/pg" ] || exit 0
npm install --prefix "$1/node" --no-audit --no-fund --no-update-notifier --silent "pg@^8"
