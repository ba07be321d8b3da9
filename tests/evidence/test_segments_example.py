"""examples/segments: segments that an engine spreads over machines have the verdicts of verify-export."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from alpha_db.cli.main import main
from alpha_db.evidence.exports import Against, check_export
from tests.evidence.made_by_hand import OTHER, SIGNER, Book
from tests.support import ROOT

pytestmark = pytest.mark.any_server

SCRIPT = ROOT / "examples" / "segments" / "verify_with_ray.py"
BOOK = Book.of(24)


@pytest.fixture(params=["good", "damaged", "missing", "another key"])
def segments(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Eight segments, of which one may be what its name says."""
    for n in range(8):
        is_it = n == 3
        signer = OTHER if is_it and request.param == "another key" else SIGNER
        data = b"".join(BOOK.segment(3 * n + 1, 3 * n + 3, signer=signer))
        if is_it and request.param == "damaged":
            data = data.replace(b'"n":11.50', b'"n":11.51').replace(b'\\"n\\":11.50', b'\\"n\\":11.51')
        if not (is_it and request.param == "missing"):
            (tmp_path / f"signals.{3 * n + 1:012}-{3 * n + 3:012}.segment").write_bytes(data)
    return tmp_path


def said(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    """What verify-export says, which exits with 0, 1 or 5."""
    code = main(["verify-export", str(folder), "--trust", SIGNER.vkey, "--json"])
    return code, json.loads(capsys.readouterr().out)["result"]


def by_threads(files: list[str], against: Against) -> Iterable[Any]:
    """An engine that gives the results in another order."""
    with ThreadPoolExecutor(3) as pool:
        return reversed(list(pool.map(check_export, files, [against] * len(files))))


def test_spread_by_threads(segments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verify = runpy.run_path(str(SCRIPT))["verify"]
    code, result = verify(str(segments), [SIGNER.vkey], by_threads)
    told = json.loads(json.dumps(result, default=str))
    for one in told["exports"]:
        if one["checkpoint"]:
            one["checkpoint"]["time"] = one["checkpoint"]["time"].replace(" ", "T")
    assert (code, told) == said(segments, capsys)


def test_a_file_that_no_task_tells_of_is_not_checked(segments: Path) -> None:
    verify = runpy.run_path(str(SCRIPT))["verify"]
    code, result = verify(
        str(segments), [SIGNER.vkey], lambda files, against: by_threads(files[:-1], against)
    )
    assert result["exports"][-1]["verdict"] == "not_run"
    assert code in (1, 3)


@pytest.mark.skipif(find_spec("ray") is None, reason="no Ray here (pip install ray)")
def test_spread_by_ray(segments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, str(SCRIPT), str(segments), "--trust", SIGNER.vkey]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["result"]) == said(segments, capsys), done.stderr
