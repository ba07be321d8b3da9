"""alpha-db retention: old rows leave by consensus, into files that prove themselves."""

from __future__ import annotations

import click

from alpha_db.retention.cli.hold import hold, release
from alpha_db.retention.cli.plan import plan
from alpha_db.retention.cli.propose import propose
from alpha_db.retention.cli.prune import prune
from alpha_db.retention.cli.status import status


@click.group(short_help="Let old rows leave, by consensus, into files.")
def retention() -> None:
    """Old rows leave by consensus, into files that prove themselves; the rest verifies as before."""


for _command in (plan, propose, prune, hold, release, status):
    retention.add_command(_command)
