"""What an attack is, and what may come of it.

The files by_*.py hold the attacks, one section for each attacker. test_few_rights.py and test_many_rights.py try
each of them; page.py prints them all as docs/tampering.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import psycopg

from tests.tampering.stage import Stage

NEWEST = 99


class Outcome(Protocol):
    """What comes of an attack: in words, for the page, and as assertions."""

    @property
    def words(self) -> str: ...

    @property
    def kind(self) -> str: ...

    def check(self, stage: Stage, error: psycopg.Error | None) -> None:
        """Assert that this came of it; `error` is what refused its last statement."""


@dataclass(frozen=True)
class Attack:
    """One attack: what it does in words, how, and what must come of it."""

    slug: str
    what: str
    outcomes: tuple[Outcome, ...]
    run: Callable[[Stage], None]
    login: str
    begins: str = "book"
    prepare: tuple[str, ...] = ()
    cleanup: tuple[str, ...] = ()
    only: tuple[int, int] = (15, NEWEST)
    untouched: bool = False

    @property
    def kinds(self) -> set[str]:
        return {outcome.kind for outcome in self.outcomes}


def _tuple(statements: str | Sequence[str]) -> tuple[str, ...]:
    return (statements,) if isinstance(statements, str) else tuple(statements)


@dataclass
class Section:
    """An attacker: who it is, whom its sessions log in as, and what it tries.

    `begins` names the database that an attack begins with: book (a little of everything, three agents, limits),
    guarded (the same with the DDL guard), locked (the same in a lockdown over signal 2), released (that
    lockdown released by a quorum), signed (with signed checkpoints), empty (no rows and no agents).
    """

    key: str
    heading: str
    who: str
    login: str
    attacks: list[Attack] = field(default_factory=list)

    def sql(
        self,
        name: str,
        what: str,
        statements: str | Sequence[str],
        *outcomes: Outcome,
        login: str | None = None,
        begins: str = "book",
        prepare: str | Sequence[str] = (),
        cleanup: str | Sequence[str] = (),
        only: tuple[int, int] = (15, NEWEST),
    ) -> None:
        """Add an attack of statements, each sent by itself; a refusal must be the last one's.

        `prepare` is what a superuser did before in the database, `cleanup` what one undoes in the cluster; `only`
        names the server versions, from and to, on which the attack can be tried.
        """
        sent = _tuple(statements)

        def run(stage: Stage) -> None:
            for statement in sent[:-1]:
                stage.calmly(statement)
            stage.me.execute(sent[-1])

        self.attacks.append(
            Attack(
                f"{self.key}-{name}",
                what,
                outcomes,
                run,
                login or self.login,
                begins,
                _tuple(prepare),
                _tuple(cleanup),
                only,
                untouched=len(sent) == 1,
            )
        )

    def does(
        self,
        what: str,
        *outcomes: Outcome,
        login: str | None = None,
        begins: str = "book",
        prepare: str | Sequence[str] = (),
        cleanup: str | Sequence[str] = (),
        only: tuple[int, int] = (15, NEWEST),
    ) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
        """Add an attack that is a function; its name, with hyphens, becomes the attack's."""

        def add(run: Callable[[Stage], None]) -> Callable[[Stage], None]:
            name = run.__name__.strip("_").replace("_", "-")
            self.attacks.append(
                Attack(
                    f"{self.key}-{name}",
                    what,
                    outcomes,
                    run,
                    login or self.login,
                    begins,
                    _tuple(prepare),
                    _tuple(cleanup),
                    only,
                )
            )
            return run

        return add
