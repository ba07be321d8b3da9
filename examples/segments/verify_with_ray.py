#!/usr/bin/env python3
"""Verify archived segments on the machines of a Ray cluster: each segment is a task.

    pip install ray 'alpha-db[retention]'                                  # on every machine of the cluster
    verify_with_ray.py SEGMENTS --trust KEY [--address ray://HOST:10001]   # without an address: the cores of this one

SEGMENTS is a directory that has the same path on every machine. The verdicts and the exit codes are those of `alpha-db
verify-export SEGMENTS --trust KEY`, because a task calls the same function, and the same one joins them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from alpha_db.cli.output import json_value
from alpha_db.evidence.checkpoint.keys import trusted_keys
from alpha_db.evidence.exports import CODES, Against, check_export, files_of, not_checked, passed_over
from alpha_db.evidence.joined import join_exports
from alpha_db.verify.cli.verify_report import worst

Result = dict[str, Any]
#: Calls check_export for each file, wherever; gives the results in any order.
Spread = Callable[[list[str], Against], Iterable[Result]]


def verify(folder: str, keys: list[str], spread: Spread) -> tuple[int, dict[str, Any]]:
    """Check every segment of a directory; return the exit code, and what verify-export --json calls its result."""
    files = files_of([folder])
    by_file = {result["file"]: result for result in spread(files, Against(trusted_keys(keys)))}
    # a file of which no task tells is one that was not checked
    results = [by_file.get(file) or not_checked(file, "no task checked it") for file in files]
    logs = join_exports(results, is_directory=True)
    code = worst([CODES[one["verdict"]] for one in [*results, *logs]])
    return code, {"exports": results, "logs": logs, "checkpoints": [], "passed_over": passed_over([folder])}


def with_ray(files: list[str], against: Against) -> Iterator[Result]:
    """Check the files by Ray's tasks. What a task dies of, of too little memory say, is a file that was not checked."""
    import ray

    task = ray.remote(num_cpus=1)(check_export)
    shared = ray.put(against)
    waiting = {task.remote(file, shared): file for file in files}
    while waiting:
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        file = waiting.pop(done)
        try:
            yield ray.get(done)
        except ray.exceptions.RayError as problem:
            yield not_checked(file, f"its task failed: {str(problem).splitlines()[0]}")


def main() -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(description="Verify archived segments with Ray.")
    parser.add_argument("segments", metavar="SEGMENTS", help="a directory that every machine sees")
    parser.add_argument(
        "--trust", metavar="KEY", action="append", required=True, help="a public key, or its file"
    )
    parser.add_argument(
        "--address", help="of the cluster, such as ray://HOST:10001; default: the cores of this machine"
    )
    given = parser.parse_args()
    import ray

    ray.init(address=given.address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    code, result = verify(given.segments, given.trust, with_ray)
    json.dump(
        {"ok": code == 0, "exit_code": code, "result": result, "error": None}, sys.stdout, default=json_value
    )
    print()
    return code


if __name__ == "__main__":
    sys.exit(main())
