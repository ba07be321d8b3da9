"""What verify-chain concludes and prints."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from alpha_db.cli.output import BAD, DIM, GOOD, WARN, clean, line
from alpha_db.errors import EXIT_DAMAGE, EXIT_NOT_RECORDED, EXIT_NOT_RUN, EXIT_NOT_THERE, EXIT_OK
from alpha_db.queries import Row
from alpha_db.shell.columns import rows
from alpha_db.verify.ranges import NOT_THERE, Verdict

#: Name and meaning of each metric, and its samples: labels and value.
Metrics = Sequence[tuple[str, str, Sequence[tuple[dict[str, str], object]]]]


#: Of one table, that are printed.
MOST_FACTS = 3

_EXIT_CODES = (
    "0: intact. 1: damage or changed guards. 3: could not be verified."
    " 4: damage, but the lockdown or its event could not be recorded. 5: a table or rows that are not there."
)


def since(when: object) -> str:
    """Return since when something is so, as words that stand behind it."""
    return ", nobody recorded since when" if when is None else f" since {clean(when)}"


def is_bad(row: Mapping[str, Any]) -> bool:
    """Whether a verdict is damage or changed guards."""
    return row["is_valid"] is False and row["verdict"] not in ("acknowledged", "not_run", NOT_THERE)


def is_open(row: Mapping[str, Any]) -> bool:
    """Whether nothing could be concluded."""
    return row["verdict"] != NOT_THERE and (row["is_valid"] is None or row["verdict"] == "not_run")


def is_absent(row: Mapping[str, Any]) -> bool:
    """Whether rows were asked for that are not there."""
    return bool(row["verdict"] == NOT_THERE)


def exit_code(results: Sequence[Mapping[str, Any]], *, is_recorded: bool | None = None) -> int:
    """Return 1 for proven damage or changed guards, 3 if something was not checked, 5 if it is not there, else 0.

    `is_recorded` says whether damage has engaged the lockdown and its event is recorded: 4 if it is not, None if
    no lockdown was asked for.
    """
    if is_recorded is False:
        return EXIT_NOT_RECORDED
    if any(map(is_bad, results)):
        return EXIT_DAMAGE
    # no chain at all is no proof of anything
    if not results or any(map(is_open, results)):
        return EXIT_NOT_RUN
    return EXIT_NOT_THERE if any(map(is_absent, results)) else EXIT_OK


def worst(codes: Sequence[int]) -> int:
    """Return the exit code of several: damage that is not recorded, damage, not read, not there, fine."""
    order = (EXIT_NOT_RECORDED, EXIT_DAMAGE, EXIT_NOT_RUN, EXIT_NOT_THERE)
    return next((code for code in order if code in codes), EXIT_OK)


def text(
    results: Sequence[Verdict],
    lockdown: Row | None,
    *,
    is_recorded: bool | None = None,
    is_part: bool = False,
) -> None:
    """Print a line for each table, what is wrong below it, and what follows from all of it.

    `is_part` says that not all rows were due, so a table of which none was read need not be empty.
    """
    styles = [BAD if is_bad(row) else WARN if _is_remarkable(row) else GOOD for row in results]
    words = [_word(row) for row in results]
    width = max((len(row["table_name"]) for row in results), default=0)
    counts = [
        "" if is_open(row) and not row["rows_checked"] else f"{row['rows_checked'] or 0:,}" for row in results
    ]
    digits = max(map(len, counts), default=0)
    for row, style, word, count in zip(results, styles, words, counts, strict=True):
        line(
            (f"{word:<7}", style),
            f"  {clean(row['table_name']):<{width}}  {count:>{digits}} {'rows' if count else '    '}  ",
            (_told(row, is_part=is_part), style if style != GOOD else ""),
        )
        if _is_remarkable(row):
            found = [(name, row[name]) for name in ("expected_hash", "actual_hash", "detail") if row[name]]
            if found:
                rows(
                    [[name.removesuffix("_hash"), shortened(value)] for name, value in found],
                    styles=[DIM] * 3,
                    indent=" " * 9,
                )
    for parts in conclusion(results, lockdown, is_recorded=is_recorded):
        line(*parts)


def remembered(run: Row | None) -> None:
    """Say what the run read, and whether the next one builds on it."""
    if run is not None:
        turn = f"turn {run['turn'] + 1} of {run['full_every']}" if run["full_every"] else "a turn"
        read = "every row" if run["is_full"] else f"new rows and {turn} of the old ones"
        why = f", because {run['note']}" if "note" in run else ""
        kept = f"remembered as run {run['id']}" if run["id"] else f"not remembered{why}"
        line((f"Read {read}; {kept}.", DIM))


#: How a line begins that says what was concluded of the chains or the checkpoints, the worst first.
CONCLUSIONS = (
    "DAMAGE",
    "NOT WHAT WAS SIGNED",
    "Guards changed",
    "Checkpoints not",
    "Not c",  # checked, compared
    "Not there",
    "As signed",
    "Intact",
)


def conclusion(
    results: Sequence[Verdict], lockdown: Row | None, *, is_recorded: bool | None = None
) -> list[list[str | tuple[str, str]]]:
    """Return the closing lines; the last says what was concluded."""
    total = len(results)
    checked = f"{sum(row['rows_checked'] or 0 for row in results):,} rows"
    damaged = [row for row in results if is_bad(row) and row["verdict"] != "guard_changed"]
    changed = [row for row in results if row["verdict"] == "guard_changed"]
    unknown = [row for row in results if is_open(row)]
    absent = [row for row in results if is_absent(row)]
    lines: list[list[str | tuple[str, str]]] = []
    if lockdown is not None and lockdown["is_locked"] and is_recorded is False:
        lines.append([("The lockdown is engaged, but its event could NOT be recorded.", BAD)])
    elif lockdown is not None and lockdown["is_locked"]:
        lines.append([("The lockdown is engaged", BAD), f"{since(lockdown['since'])}."])
    elif damaged or is_recorded is False:
        lines.append([("The lockdown is NOT engaged.", WARN)])
    said: list[str] = []
    if damaged:
        places = ", ".join(map(_place, damaged))
        said.append(f"DAMAGE in {len(damaged)} of {_count(total, 'chain')}: {places}.")
    if changed:
        names = ", ".join(clean(row["table_name"]) for row in changed)
        said.append(f"Guards changed: {names} (alpha-db guards lists what).")
    if unknown or not results:
        names = ", ".join(clean(row["table_name"]) for row in unknown) or "every chain"
        said.append(f"Not checked, so nothing is known of: {names}.")
    if absent:
        said.append(f"Not there: rows of {', '.join(clean(row['table_name']) for row in absent)}.")
    if not said:
        known = sum(row["verdict"] == "acknowledged" for row in results)
        also = f", {known} with damage that a lockdown release acknowledged" if known else ""
        lines.append([(f"Intact: {_count(total, 'chain')}, {checked}{also}.", WARN if known else GOOD)])
    else:
        lines.append([(" ".join(said), BAD if damaged or changed else WARN)])
    return lines


def prometheus(
    results: Sequence[Verdict], lockdown: Row | None, seconds: float, code: int, more: Metrics = ()
) -> str:
    """Return the verdicts in Prometheus' text format; a chain not checked has no alpha_db_chain_valid."""
    metrics: list[str] = []

    def add(name: str, what: str, samples: Sequence[tuple[str, object]]) -> None:
        metrics.extend([f"# HELP alpha_db_{name} {what}", f"# TYPE alpha_db_{name} gauge"])
        metrics.extend(f"alpha_db_{name}{labels} {value}" for labels, value in samples)

    def by_table(value: Any) -> list[tuple[str, object]]:
        pairs = [(label_text(table=row["table_name"]), value(row)) for row in results]
        return [(labels, number) for labels, number in pairs if number is not None]

    if results:
        valid = by_table(lambda row: None if is_open(row) or is_absent(row) else int(not is_bad(row)))
        add(
            "chain_valid",
            "1: the chain is intact, or its damage is acknowledged. 0: damage or changed guards.",
            valid,
        )
        add("chain_not_run", "1: the chain could not be checked.", by_table(lambda row: int(is_open(row))))
        absent = by_table(lambda row: 1 if is_absent(row) else None)
        if absent:
            add("chain_not_there", "1: rows were asked for that are not there.", absent)
        verdicts = [(label_text(table=row["table_name"], verdict=row["verdict"]), 1) for row in results]
        add("chain_verdict", "Always 1; the label verdict tells what was found.", verdicts)
        add(
            "chain_rows_checked",
            "Rows whose hash was recomputed.",
            by_table(lambda row: row["rows_checked"] or 0),
        )
        add("chain_last_id", "Last row that was checked.", by_table(lambda row: row["last_id"]))
    if lockdown is not None and lockdown["is_locked"] is not None:
        add("lockdown_engaged", "1: the lockdown is engaged.", [("", int(lockdown["is_locked"]))])
    for name, what, samples in more:
        add(name, what, [(label_text(**labels) if labels else "", value) for labels, value in samples])
    add("verify_exit_code", _EXIT_CODES, [("", code)])
    add("verify_duration_seconds", "How long the verification took.", [("", f"{seconds:.3f}")])
    add("verify_timestamp_seconds", "When the verification ended, Unix time.", [("", f"{time.time():.0f}")])
    return "\n".join(metrics) + "\n"


def _word(row: Verdict) -> str:
    return "not ok" if is_bad(row) else "not run" if is_open(row) else "absent" if is_absent(row) else "ok"


def _is_remarkable(row: Verdict) -> bool:
    """Whether the detail says more than how many rows were read."""
    return row["verdict"] != "intact" or "; " in (row["detail"] or "")


def shortened(detail: Any) -> Any:
    """The first facts of many: JSON has all of them."""
    facts = str(detail).split("; ")
    if len(facts) <= MOST_FACTS + 1:
        return detail
    more = len(facts) - MOST_FACTS
    return f"{'; '.join(facts[:MOST_FACTS])}; and {more} more; alpha-db guards and --json list them"


def _place(row: Verdict) -> str:
    if row["broken_id"] is None:
        return f"{clean(row['table_name'])} ({clean(row['verdict'])})"
    return f"{clean(row['table_name'])} at id {clean(row['broken_id'])}"


def _told(row: Verdict, *, is_part: bool) -> str:
    if row["verdict"] == "intact":
        if row["rows_checked"]:
            return f"{row['first_id']}..{row['last_id']}"
        return "nothing new" if is_part else "empty"
    place = "" if row["broken_id"] is None else f" at id {row['broken_id']}"
    code = f" ({row['error_code']})" if row["error_code"] else ""
    return clean(f"{row['verdict']}{place}{code}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def label_text(**labels: str) -> str:
    """Return labels as Prometheus' text format has them, in braces."""

    def escaped(value: str) -> str:
        return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items()) + "}"
