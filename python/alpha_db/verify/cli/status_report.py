"""What status concludes and prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from alpha_db.cli.output import BAD, DIM, GOOD, WARN, clean, line
from alpha_db.errors import EXIT_DAMAGE, EXIT_NOT_RUN, EXIT_OK
from alpha_db.queries import Row
from alpha_db.shell.columns import rows
from alpha_db.verify.cli import growth_report
from alpha_db.verify.cli.verify_report import since
from alpha_db.verify.growth import warnings
from alpha_db.verify.locks import describe, remedy

Report = dict[str, Any]

_WIDTH = 14


#: A transaction that has held a lock of ours for longer, in seconds, is worth a warning.
LONG = 10.0


def exit_code(report: Report) -> int:
    """Return 1 for a problem of integrity, 3 if one of its questions has no answer, otherwise 0."""
    edited = any(state["status"] == "edited" for state in report["migrations"] or [])
    locked = (report["lockdown"] or {}).get("is_locked")
    problems = {chain["error_code"] for chain in report["chains"] or []}
    if any(text.startswith("AUD-009") for text in report["unavailable"].values()):
        problems.add("AUD-009")
    if edited or locked or report["guards"] or "AUD-009" in problems:
        return EXIT_DAMAGE
    # what could not be checked is not "fine"
    unknown = {"migrations", "lockdown", "guards", "chains"} & report["unavailable"].keys()
    return EXIT_NOT_RUN if unknown or problems - {None} else EXIT_OK


def text(report: Report) -> None:
    """Print the report, a line or a block for each section."""
    _server(report)
    _migrations(report)
    _lockdown(report)
    _guards(report)
    _chains(report)
    growth_report.tell(report, _section)
    for name in ("growth", "headroom"):
        _missing(report, name)
    _locks(report)
    for login in report["logins_without_timeouts"] or []:
        lacks = " and ".join(login["lacks"])
        _section(
            "warning",
            (f"login role {clean(login['role'])} ({', '.join(login['member_of'])}) has no {lacks}", WARN),
        )
    _missing(report, "logins")
    _conclusion(report)


def _server(report: Report) -> None:
    server, installation = report["server"], report["installation"]
    standby = ", standby" if server["in_recovery"] else ", read-only" if server["read_only"] else ""
    _section(
        "server", f"PostgreSQL {clean(server['server_version'])}{standby}, as {clean(server['session_user'])}"
    )
    _section("database", f"{clean(server['database'])}, schema {clean(server['schema'])}")
    if installation is not None:
        prefix = installation["role_prefix"]
        roles = f", role prefix {clean(prefix)}" if prefix else ""
        when = clean(installation["installed_at"])
        _section("installation", f"{installation['installation_id']}, since {when}{roles}")
    _missing(report, "installation")
    _section("alpha-db", clean(report["package_version"]))


def _migrations(report: Report) -> None:
    states = report["migrations"]
    if states is not None:
        for status, style, told in (
            ("edited", BAD, "edited since applied"),
            ("unknown", WARN, "not in this package, which is older than the database"),
            ("pending", WARN, "pending"),
        ):
            names = [state["name"] for state in states if state["status"] == status]
            if names:
                _section("migrations", (f"{told}: {clean(', '.join(names))}", style))
        count = Counter(state["status"] for state in states)["applied"]
        _section("migrations", (f"{count} applied", GOOD))
    _missing(report, "migrations")


def _lockdown(report: Report) -> None:
    lockdown = report["lockdown"]
    if lockdown is not None:
        if lockdown["is_locked"]:
            _section(
                "lockdown",
                ("ENGAGED", BAD),
                f"{since(lockdown['since'])}: {clean(lockdown['reason'])}",
            )
        else:
            _section("lockdown", ("none", GOOD))
    _missing(report, "lockdown")


def _guards(report: Report) -> None:
    guards = report["guards"]
    if guards:
        facts = "1 fact" if len(guards) == 1 else f"{len(guards)} facts"
        _section("guards", (f"{facts} not as installed", BAD), " (alpha-db guards lists them)")
    elif guards is not None:
        _section("guards", ("as installed", GOOD))
    _missing(report, "guards")


def _chains(report: Report) -> None:
    chains = report["chains"]
    if chains:
        _section("chains", ("not verified here: alpha-db verify-chain", DIM))
        cells = [
            (
                chain["table_name"],
                f"{chain['last_id'] or 0:,}",
                (chain["head_hash"] or "-")[:16],
                chain["last_created_at"],
            )
            for chain in chains
        ]
        rows(cells, head=("table", "last id", "head hash", "last row"), right=[1], indent="  ")
        for chain in chains:
            if chain["problem"]:
                name, style = ("problem", BAD) if chain["error_code"] else ("warning", WARN)
                _section(name, (f"{clean(chain['table_name'])}: {clean(chain['problem'])}", style))
    _missing(report, "chains")


def _locks(report: Report) -> None:
    for holder in overdue(report["locks"] or []):
        blocked = len(holder["blocks"])
        waiting = f"; {blocked} {'waits' if blocked == 1 else 'wait'} for it" if blocked else ""
        held = clean(", ".join(holder["locks"]))
        _section(
            "warning",
            (f"{clean(describe(holder))} holds {held}{waiting}", WARN),
            f". HINT: {clean(remedy(holder))}",
        )
    _missing(report, "locks")


def _conclusion(report: Report) -> None:
    if report["exit_code"] == EXIT_DAMAGE:
        line(("There is a problem of integrity.", BAD))
    elif report["exit_code"] == EXIT_NOT_RUN:
        unread = [chain["table_name"] for chain in report["chains"] or [] if chain["error_code"]]
        names = ", ".join([*sorted(report["unavailable"]), *map(clean, unread)])
        line((f"Not everything could be checked: {names}.", WARN))
    elif pending := [state for state in report["migrations"] or [] if state["status"] == "pending"]:
        is_are = "migration is" if len(pending) == 1 else "migrations are"
        line((f"Not complete: {len(pending)} {is_are} pending. Run alpha-db migrate.", WARN))
    elif number := _warnings(report):
        line(
            (
                f"No problem found; {number} {'warning' if number == 1 else 'warnings'}.",
                WARN,
            )
        )
    else:
        line(("No problem found.", GOOD))


def _warnings(report: Report) -> int:
    """How many things somebody should look at, though they are no problem of integrity."""
    ahead = [chain for chain in report["chains"] or [] if chain["problem"]]
    logins = report["logins_without_timeouts"] or []
    return len(ahead) + len(overdue(report["locks"] or [])) + len(logins) + len(warnings(report))


def _section(name: str, *parts: str | tuple[str, str]) -> None:
    line((f"{name:<{_WIDTH}}", DIM), *parts)


def _missing(report: Report, name: str) -> None:
    if name in report["unavailable"]:
        _section(name, ("not checked: ", WARN), clean(report["unavailable"][name]))


def overdue(rows: Sequence[Row], longer_than: float = LONG) -> list[Row]:
    """Return the transactions that have held locks for too long, and every prepared one.

    One row for each, with `locks`: the names of all that it holds. Sessions without a login are PostgreSQL's own,
    which give way by themselves.
    """
    holders: dict[tuple[Any, Any], Row] = {}
    for row in rows:
        held_long = row["login"] is not None and (row["seconds"] or 0) >= longer_than
        if row["granted"] and (row["pid"] is None or held_long):
            holder = holders.setdefault((row["pid"], row["gid"]), row | {"locks": [], "blocks": []})
            holder["locks"].append(row["lock_name"])
            holder["blocks"] = sorted({*holder["blocks"], *row["blocks"]})
    return list(holders.values())
