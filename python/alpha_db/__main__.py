"""python -m alpha_db is the same program as alpha-db."""

from __future__ import annotations

import sys

from alpha_db.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
