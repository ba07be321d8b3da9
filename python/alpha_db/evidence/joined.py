"""Whether files of one log fit together: where one ends and the next begins, and where two have the same rows.

Each file was checked by itself, wherever that was. What is left is a look at their ends. Source: docs/retention.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing, suppress
from hashlib import sha256
from typing import Any

from alpha_db.evidence.offline_check import NotThere as NoFile
from alpha_db.evidence.offline_check import Refused, Unreadable, open_file, read_lines, verify_export

Result = dict[str, Any]
#: The hashes of some rows of a file, by id.
HashesAt = Callable[[str, Collection[int]], dict[int, str]]


def hashes_at(file: str, ids: Collection[int]) -> dict[int, str]:
    """Return the hashes of some rows of a file, which is read and checked again; none if it does not hold any more."""
    found: dict[int, str] = {}
    previous = b""

    def add(row_id: int, row_data: str) -> None:
        nonlocal previous
        previous = sha256(previous + row_data.encode()).digest()
        if row_id in ids:
            found[row_id] = previous.hex()

    with suppress(Refused, Unreadable, NoFile, OSError):
        if file == "-":
            return {}
        with closing(open_file(file)) as stream:
            begin = verify_export(read_lines(stream)).previous_hash
            previous = bytes.fromhex(begin)
            stream.seek(0)
            if verify_export(read_lines(stream), each=add).previous_hash == begin:
                return found
    return {}


def with_continued(results: Sequence[Result], hashes: HashesAt = hashes_at) -> list[Result]:
    """Return the results of check_export, with what other files say of those that end before the checkpoint.

    Such a file is refused, because its end is missing. If a file that was compared has the same row where it ends, its
    rows are those that were signed, too, because each hash covers the one before: it holds, `continued_in` that file.
    If files go on behind it and none of these can show that, it is not_run. Raises nothing.
    """
    settled = {id(one): one for one in results}
    shorts = [one for one in results if one.get("ends_before") is not None]
    for short in sorted(shorts, key=lambda one: -one["last_id"]):
        later = [
            one
            for one in settled.values()
            if one.get("origin") == short["origin"] and one["last_id"] > short["last_id"]
        ]
        if later:
            settled[id(short)] = _settled(short, later, hashes)
    return list(settled.values())


def _settled(short: Result, later: Sequence[Result], hashes: HashesAt) -> Result:
    row, unsure = short["last_id"], f"no file continues it behind row {short['last_id']}"
    for other in sorted(later, key=lambda one: one["verdict"] != "holds"):
        if other["first_id"] > row + 1:
            continue
        if (_hash_of(other, row) or hashes(other["file"], {row}).get(row)) != short["last_hash"]:
            unsure = f"{other['file']} does not have the same row {row}"
        elif other["verdict"] == "holds" and other["checkpoint"]:
            told = {"verdict": "holds", "reason": None, "signed_to": row, "continued_in": other["file"]}
            return short | told | {"checkpoint": other["checkpoint"]}
        else:
            unsure = f"{other['file']} continues it, and was not compared either"
    return short | {"verdict": "not_run", "reason": f"not compared with the checkpoint: {unsure}"}


def join_exports(
    results: Iterable[Result], hashes: HashesAt = hashes_at, *, is_directory: bool = False
) -> list[Result]:
    """Return a verdict on each log of which there are files: whether they are parts of one and the same.

    Takes the results of check_export or with_continued, in any order, and whether they are all files of a directory. Of
    a log it says the first and the last row; `begins_at`, the same first row; `gaps`, the rows that are in no file that
    holds; `doubles`, the rows that are in several; `forks`, the rows that two files, or two checkpoints, have in two
    versions; `others`, the other logs of a table of the same name: an unsigned file may name any log, and so keep apart
    what is a fork. A fork is refused; a gap is not_there. An export may begin anywhere. Segments begin with row 1, so
    the rows before the first of several, or of a directory, are a gap. Raises nothing.
    """
    logs: dict[str, list[Result]] = {}
    for result in results:
        if "origin" in result:
            logs.setdefault(result["origin"], []).append(result)
    joined = [
        _joined(origin, parts, hashes, is_whole=is_directory or len(parts) > 1)
        for origin, parts in logs.items()
    ]
    for log in joined:
        log["others"] = [one["origin"] for one in joined if one is not log and one["table"] == log["table"]]
    return joined


def _joined(origin: str, parts: list[Result], hashes: HashesAt, *, is_whole: bool) -> Result:
    parts = sorted(parts, key=lambda part: (part["first_id"], part["last_id"]))
    begins_at = parts[0]["first_id"]
    is_cut = is_whole and begins_at > 1 and any(part.get("segment") for part in parts)
    gaps: list[list[int]] = [[1, begins_at - 1]] if is_cut else []
    doubles: list[list[int]] = []
    meetings: list[tuple[Result, Result, int]] = []  # a row of which both must have the same hash
    reach = parts[0]
    for part in parts[1:]:
        if part["first_id"] > reach["last_id"] + 1:
            gaps.append([reach["last_id"] + 1, part["first_id"] - 1])
        else:
            shared = min(part["last_id"], reach["last_id"])
            meetings.append((reach, part, shared))
            if doubles and part["first_id"] <= doubles[-1][1] + 1:
                doubles[-1][1] = max(doubles[-1][1], shared)
            elif part["first_id"] <= shared:
                doubles.append([part["first_id"], shared])
        if part["last_id"] > reach["last_id"]:
            reach = part
    forks, unknown = _compared(meetings, hashes)
    forks += _two_roots(parts)
    table = parts[0]["table"]
    verdict, reason = "holds", None
    if forks:
        verdict, reason = "refused", _told(forks[0])
    elif unknown:
        verdict, reason = (
            "not_run",
            f"row {unknown[0]} is in two files, which could not be read again to compare",
        )
    elif gaps:
        verdict, reason = "not_there", f"{_ranges(gaps)} in no file that holds"
    if verdict in ("holds", "not_there") and reach.get("ends_before") and reach["verdict"] == "refused":
        verdict, reason = "refused", reach["reason"]
    log = {"origin": origin, "table": table, "verdict": verdict, "reason": reason, "files": len(parts)}
    log |= {"first_id": begins_at, "last_id": reach["last_id"], "begins_at": begins_at}
    return log | {"gaps": gaps, "doubles": doubles, "forks": forks}


def _compared(
    meetings: Sequence[tuple[Result, Result, int]], hashes: HashesAt
) -> tuple[list[Result], list[int]]:
    """The rows that two files have in two versions, and those of which a hash could not be had."""
    wanted: dict[str, set[int]] = {}
    for meeting in meetings:
        for part in meeting[:2]:
            if _hash_of(part, meeting[2]) is None:
                wanted.setdefault(part["file"], set()).add(meeting[2])
    inside = {file: hashes(file, ids) for file, ids in wanted.items()}
    forks, unknown = [], []
    for one, other, row in meetings:
        of_one, of_other = (_hash_of(part, row) or inside[part["file"]].get(row) for part in (one, other))
        if of_one is None or of_other is None:
            unknown.append(row)
        elif of_one != of_other:
            forks.append({"id": row, "of": [one["file"], other["file"]]})
    return forks, unknown


def _hash_of(part: Result, row: int) -> str | None:
    """The hash of a row, if it stands at an end of the file."""
    ends = {part["first_id"] - 1: part["previous_hash"], part["last_id"]: part["last_hash"]}
    return ends.get(row)


def _two_roots(parts: Sequence[Result]) -> list[Result]:
    """The sizes of which two checkpoints say two roots, though the same key signed both."""
    said: dict[int, tuple[str, str]] = {}
    forks = []
    for part in parts:
        if run := part["checkpoint"]:
            root, file = said.setdefault(run["size"], (run["root"], part["file"]))
            if root != run["root"]:
                forks.append(
                    {"id": run["size"], "of": [f"the checkpoint in {file}", f"that in {part['file']}"]}
                )
    return forks


def _told(fork: Result) -> str:
    one, other = fork["of"]
    return (
        f"there are two versions of row {fork['id']} or of one before it: that of {one}, and that of {other}"
    )


def _ranges(gaps: Sequence[Sequence[int]]) -> str:
    shown = ", ".join(f"{first} to {last}" if last > first else str(first) for first, last in gaps[:3])
    more = f" and {len(gaps) - 3} more ranges" if len(gaps) > 3 else ""
    is_one = len(gaps) == 1 and gaps[0][0] == gaps[0][1]
    return f"row {shown} is" if is_one else f"rows {shown}{more} are"
