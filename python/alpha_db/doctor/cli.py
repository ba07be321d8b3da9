"""alpha-db doctor."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import asdict
from textwrap import wrap

import click

from alpha_db.cli.common import Settings, database_options, finish
from alpha_db.cli.output import BAD, DIM, GOOD, WARN, clean, emit_json, line
from alpha_db.connection import be_read_only
from alpha_db.doctor.examination import Check, State, examine
from alpha_db.errors import EXIT_DAMAGE

_STYLES = {State.OK: GOOD, State.LOST: WARN, State.SET: BAD, State.STOP: BAD}
_WIDTH = 80
_INDENT = 24


@click.command(short_help="Tell what works in a database, what is lost there, and what to set.")
@click.option(
    "--role-prefix", metavar="PREFIX", help="First install: what stands before the names of the roles."
)
@database_options
def doctor(settings: Settings, as_json: bool, role_prefix: str | None) -> None:
    """Tell what works in the database at hand, what is lost there, and what to set.

    Run it as the login that will migrate, before the migrations, and again after them. It changes nothing.
    Each line begins with one word: ok; lost: it works, but a protection is weaker, or there is none; set: do this
    first; stop: this database cannot take alpha-db. docs/managed.md has the providers' own words.

    Exits 0 if alpha-db can be installed, or works, 1 if something must be set first, 3 if it could not look.

    \b
    Examples:
      alpha-db doctor
      alpha-db --dsn postgresql://dba@db.example/trading doctor --schema audit
      alpha-db doctor --json
    """
    with closing(settings.connect()) as conn:
        be_read_only(conn)
        checks = examine(conn, settings.schema, role_prefix)
    must_be_set = [check for check in checks if check.state in (State.SET, State.STOP)]
    if as_json:
        emit_json([asdict(check) for check in checks])
    else:
        for check in checks:
            _show(check)
        _sum_up(checks)
    finish(EXIT_DAMAGE if must_be_set else 0)


def _show(check: Check) -> None:
    state = State(check.state)
    first, *rest = _paragraph(check.found)
    line((f"{state.value:<6}", _STYLES[state]), f"{clean(check.name):<{_INDENT - 6}}{first}")
    for more in (*rest, *_paragraph(check.effect)):
        line(" " * _INDENT + more)
    for number, text in enumerate(_paragraph(check.remedy)):
        line((f"{'' if number else 'do':>{_INDENT - 2}}  ", DIM), text)


def _paragraph(text: str | None) -> list[str]:
    """Return the lines of a text; a word that is longer than a line stays whole, so that it can be copied."""
    if not text:
        return []
    return wrap(clean(text), _WIDTH - _INDENT, break_long_words=False, break_on_hyphens=False) or [""]


def _sum_up(checks: list[Check]) -> None:
    counts = Counter(State(check.state) for check in checks)
    told = ", ".join(f"{counts[state]} {state.value}" for state in State if counts[state])
    if counts[State.STOP]:
        line((f"This database cannot take alpha-db ({told}).", BAD))
    elif counts[State.SET]:
        line((f"Set this first ({told}).", BAD))
    else:
        line((f"Nothing has to be set ({told}).", GOOD))
