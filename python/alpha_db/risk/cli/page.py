"""alpha-db risk page and submit: a vote that is signed in a browser, on a machine that knows no database."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import click

from alpha_db.cli.common import Settings, database_options
from alpha_db.cli.options import FILE
from alpha_db.cli.output import DIM, emit_json, line
from alpha_db.evidence.cli.new_file import force_option, new_file, refuse_existing
from alpha_db.risk.cli.shown import lines_of
from alpha_db.risk.cli.voted import tell_vote
from alpha_db.risk.config_manager import ConfigManager
from alpha_db.risk.signed_vote import read_vote


@click.command(short_help="Write a page on which a proposal is voted on.")
@click.argument("proposal_id", metavar="ID")
@click.option("--agent", metavar="NAME", help="Who votes on it; default: each agent that still may.")
@click.option(
    "--output", "-o", metavar="FILE", type=FILE, required=True, help="The page, such as proposal.html."
)
@force_option
@database_options
def page(
    settings: Settings, as_json: bool, proposal_id: str, agent: str | None, output: Path, force: bool
) -> None:
    """Write one HTML file on which a person reads a pending proposal, and signs a vote in the browser.

    The page shows what approve shows, verifies the signatures itself, and needs no network: the private key
    does not leave it. It gives the signed vote, which submit sends. ID may be the beginning of one.

    Tell whoever votes the SHA-256 by another way than the page: a page that somebody else wrote looks alike, and may
    steal the key.

    \b
    Examples:
      alpha-db risk page 0f5c --output proposal.html
      alpha-db risk page 0f5c --agent ben --output ben.html
      alpha-db risk submit vote.json
    """
    refuse_existing(output, force)
    with settings.installed() as (conn, _):
        content, proposal = ConfigManager(conn).page(proposal_id, agent)
    with new_file(output, force) as stream:
        stream.write(content)
    digest = sha256(content).hexdigest()
    if as_json:
        emit_json(
            {
                "proposal_id": proposal["proposal_id"],
                "file": str(output),
                "bytes": len(content),
                "sha256": digest,
            }
        )
    else:
        line(f"Wrote {output}. Open it in a browser; then: alpha-db risk submit FILE")
        line(("SHA-256 ", DIM), digest)


@click.command(short_help="Send a vote that was signed on a page.")
@click.argument("file", metavar="FILE", type=FILE)
@database_options
def submit(settings: Settings, as_json: bool, file: Path) -> None:
    """Verify a vote that was signed on the page of a proposal, and send it; - is standard input.

    Whoever has the file can submit it: the signature decides, not the login. A vote for another installation
    or another text is refused, and so is one on a proposal that has expired.

    On a standby this is refused: exit 3.

    \b
    Examples:
      alpha-db risk submit vote-0f5c3e1a-b0b0b0b0.json
      alpha-db risk submit - < vote.json
    """
    vote = read_vote(file)
    with settings.installed(writes=True) as (conn, _):
        manager = ConfigManager(conn)
        ballot = manager.signed_ballot(vote)
        if not as_json:
            for parts in lines_of(ballot.proposal):
                line(*parts)
        status = manager.send_vote(ballot, bytes.fromhex(vote.signature))
        tell_vote(manager, ballot, status, as_json=as_json)
