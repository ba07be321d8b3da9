"""The program: alpha-db, or python -m alpha_db."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import alpha_db
from alpha_db.cli import boundary
from alpha_db.cli.common import Settings, debug_option, dsn_option, lock_timeout_option, schema_option
from alpha_db.cli.optional import LazyGroup

#: Each command and where it is, in the order of the help; loaded when used, so that none slows another.
COMMANDS = {
    "demo": "alpha_db.demo.cli:demo",
    "server": "alpha_db.embedded.cli.server:server",
    "migrate": "alpha_db.cli.migrate:migrate",
    "doctor": "alpha_db.doctor.cli:doctor",
    "status": "alpha_db.verify.cli.status:status",
    "verify-chain": "alpha_db.verify.cli.verify_chain:verify_chain",
    "guards": "alpha_db.verify.cli.guards:guards",
    "attempts": "alpha_db.verify.cli.attempts:attempts",
    "tables": "alpha_db.tables.cli:tables",
    "lockdown": "alpha_db.verify.cli.lockdown:lockdown",
    "checkpoint": "alpha_db.evidence.cli.checkpoint:checkpoint",
    "witness": "alpha_db.evidence.cli.witness:witness",
    "prove": "alpha_db.evidence.cli.prove:prove",
    "verify-proof": "alpha_db.evidence.cli.verify_proof:verify_proof_command",
    "export": "alpha_db.evidence.cli.export:export",
    "verify-export": "alpha_db.evidence.cli.verify_export:verify_export_command",
    "tiles": "alpha_db.evidence.cli.tiles:tiles",
    "report": "alpha_db.report.cli:report",
    "verify-report": "alpha_db.report.verify_cli:verify_report_command",
    "watch": "alpha_db.watch.cli:watch",
    "agents": "alpha_db.risk.cli.agents:agents",
    "risk": "alpha_db.risk.cli:risk",
    "retention": "alpha_db.retention.cli:retention",
    "completion": "alpha_db.shell.completion:completion",
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 fine, 1 proven damage, changed guards or a refusal, 2 usage, 3 could not run, "
    "4 damage, but the lockdown could not be recorded, 5 what was asked about is not there. "
    "Every option is also an environment variable: ALPHA_DB_DSN, ALPHA_DB_VERIFY_CHAIN_FORMAT, ...",
)
@dsn_option
@schema_option
@lock_timeout_option
@debug_option
@click.version_option(alpha_db.__version__, message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, dsn: str | None, schema: str | None, lock_timeout: float | None) -> None:
    """A tamper-evident audit log in PostgreSQL: install it, watch it, verify it.

    \b
    Examples:
      alpha-db demo
      alpha-db --dsn postgresql://dba@db.example/trading migrate
      alpha-db verify-chain --json
    """
    ctx.obj = Settings(dsn, schema, lock_timeout)


class _Notices(logging.Handler):
    """Shows what the server says beside the result, a line each, on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        boundary.say(f"{'warning' if record.levelno >= logging.WARNING else 'notice'}: {record.getMessage()}")


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code. Raises nothing. Source: README.md."""
    arguments = list(sys.argv[1:] if args is None else args)
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug = "--debug" in options or os.environ.get("ALPHA_DB_DEBUG", "") not in ("", "0")
    _prepare_streams()
    _prepare_logging(debug)

    def program() -> int | None:
        result = cli.main(
            arguments, prog_name="alpha-db", standalone_mode=False, auto_envvar_prefix="ALPHA_DB"
        )
        return result if isinstance(result, int) else 0

    return boundary.run(program, debug=debug, as_json="--json" in options)


def _prepare_streams() -> None:
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        reconfigure: Any = getattr(getattr(sys, name), "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")  # a name in the data must not fail in a poor locale


def _prepare_logging(debug: bool) -> None:
    if debug:
        logging.basicConfig(level=logging.DEBUG, format="%(name)s: %(message)s", stream=sys.stderr)
    server = logging.getLogger("alpha_db.server")
    if not any(isinstance(handler, _Notices) for handler in server.handlers):
        server.addHandler(_Notices())
        server.setLevel(logging.INFO)
        server.propagate = False
