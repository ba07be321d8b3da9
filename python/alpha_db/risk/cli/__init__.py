"""alpha-db risk: signed limits, and the votes that change them."""

from __future__ import annotations

import click

from alpha_db.risk.cli.get_config import get_config
from alpha_db.risk.cli.heartbeat import heartbeat
from alpha_db.risk.cli.history import history
from alpha_db.risk.cli.page import page, submit
from alpha_db.risk.cli.propose import quorum_policy, set_kill_threshold, update_param
from alpha_db.risk.cli.verify import verify
from alpha_db.risk.cli.votes import approve, proposals, reject
from alpha_db.risk.cli.watch import watch


@click.group()
def risk() -> None:
    """Risk limits: what holds, and how agents change it together."""


for _command in (
    get_config,
    update_param,
    set_kill_threshold,
    quorum_policy,
    proposals,
    approve,
    reject,
    page,
    submit,
    history,
    verify,
    watch,
    heartbeat,
):
    risk.add_command(_command)
