"""alpha-db status: what can be known at a glance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click
import psycopg

import alpha_db
from alpha_db.cli.common import Settings, database_options, finish
from alpha_db.cli.output import emit_json
from alpha_db.errors import AlphaDbError, PermissionDenied, from_database
from alpha_db.installation import Place
from alpha_db.migrate import find_directory, read_files, read_states
from alpha_db.migrate.sources import MigrationFile
from alpha_db.queries import ask
from alpha_db.verify.cli import status_report
from alpha_db.verify.cli.all_schemas import AllSchemas, Words
from alpha_db.verify.cli.byte_size import read_size
from alpha_db.verify.growth import disk
from alpha_db.verify.locks import lock_holders


@click.command(short_help="Show what can be known at a glance.")
@click.option(
    "--disk-free",
    metavar="BYTES",
    callback=read_size,
    help="How much is free on the server's disk, such as 200G (1024^3): says until when it lasts.",
)
@database_options
@AllSchemas(Words("without a problem", "with a problem"), excludes=("disk_free",))
def status(settings: Settings, as_json: bool, disk_free: int | None) -> None:
    """Show server, migrations, lockdown, guards, chains, and how the log grows.

    Warns of login roles without time-outs, of sessions that have held a lock of a chain, the proposals or the
    migrations for more than 10 seconds, of every prepared transaction that has locked our tables, and of what runs
    out within 90 days: the disk, ids, sequences. Also of rows that PostgreSQL has not frozen in time.

    Exits 1 if the lockdown is engaged, guards are not as installed, a chained table is gone or a migration was
    edited; 3 if one of these cannot be seen. This does not verify the chains: alpha-db verify-chain does. Warnings
    do not count, that the last row is ahead of the clock among them, nor do pending migrations: alpha-db migrate
    --check exits 1 for those.

    \b
    Examples:
      alpha-db status
      alpha-db status --disk-free 200G
      alpha-db --dsn service=trading --schema desk_a status --json
      alpha-db status --all-schemas
    """
    with settings.installed() as (conn, place):
        report = collect(conn, place, disk_free)
    if as_json:
        emit_json({name: value for name, value in report.items() if name != "exit_code"})
    else:
        status_report.text(report)
    finish(report["exit_code"])


def _files() -> list[MigrationFile]:
    """Return the migrations of this package, read once for all desks of a command."""
    context = click.get_current_context(silent=True)
    kept: dict[str, Any] = {} if context is None else context.meta
    if __name__ not in kept:
        kept[__name__] = read_files(find_directory())
    return list(kept[__name__])


def collect(conn: psycopg.Connection[Any], place: Place, disk_free: int | None = None) -> dict[str, Any]:
    """Return everything that status shows; what the role may not see stands in ``unavailable``.

    Takes a connection in autocommit, where one refusal does not stop the next question, and how many bytes are free
    on the server's disk, if that is known.
    """
    unavailable: dict[str, str] = {}

    def section(name: str, get: Callable[[], Any]) -> Any:
        try:
            return get()
        except (psycopg.errors.InsufficientPrivilege, PermissionDenied) as exc:
            unavailable[name] = str(from_database(exc) if isinstance(exc, psycopg.Error) else exc)
        except (psycopg.errors.UndefinedFunction, psycopg.errors.UndefinedTable) as exc:
            unavailable[name] = f"not installed: {from_database(exc)}"  # an older database
        except AlphaDbError as exc:
            unavailable[name] = str(exc)
        except psycopg.errors.LockNotAvailable:
            raise  # who holds it is told by whoever opened the connection
        except psycopg.Error as exc:
            if conn.closed:
                raise
            unavailable[name] = str(from_database(exc))
        return None

    def the_row(name: str) -> dict[str, Any]:
        found = ask(conn, name)
        if not found:
            raise AlphaDbError(f"there is no row of {name}")
        return found[0]

    installation = section("installation", lambda: the_row("installation"))
    migrations = section("migrations", lambda: read_states(conn, place, _files()))
    growth = section("growth", lambda: ask(conn, "growth"))
    report = {
        "package_version": alpha_db.__version__,
        "server": {
            name: value for name, value in place._asdict().items() if name not in ("installed", "elsewhere")
        },
        "installation": installation,
        "migrations": None if migrations is None else [asdict(state) for state in migrations],
        "lockdown": section("lockdown", lambda: the_row("lockdown_status")),
        "guards": section("guards", lambda: ask(conn, "guards")),
        "chains": section("chains", lambda: ask(conn, "chain_status")),
        "locks": section("locks", lambda: lock_holders(conn)),
        "logins_without_timeouts": section("logins", lambda: ask(conn, "logins_without_timeouts")),
        "growth": growth,
        "headroom": section("headroom", lambda: ask(conn, "headroom")),
        "disk": disk(growth, disk_free),
        "unavailable": unavailable,
    }
    return {**report, "exit_code": status_report.exit_code(report)}
