"""offline_check.py export --runs: two versions that one key signed in one log of runs contradict each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from alpha_db.evidence import offline_check
from tests.evidence.made_by_hand import SIGNER, Book, run_proof, run_row

TRUE = Book.of(9)
CLEAN = Book([*TRUE.rows[:4], TRUE.rows[4].replace("5.50", "5.51"), *TRUE.rows[5:]])


def runs_of(*heads: dict[str, object]) -> Book:
    return Book([run_row(n, {"signals": head}) for n, head in enumerate(heads, 1)], "checkpoint_runs")


def check(
    folder: Path,
    runs: Book,
    rows: Book,
    first: int = 1,
    shown: Book | None = None,
    segment_to: int | None = None,
) -> int:
    """The exit code for an export of rows, or a segment, with the last of the runs as the checkpoint."""
    (folder / "run").write_text(run_proof(runs))
    (folder / "runs.jsonl").write_bytes(b"".join((shown or runs).export()))
    lines = rows.segment(first, segment_to) if segment_to else rows.export(first)
    (folder / "signals.jsonl").write_bytes(b"".join(lines))
    files = [
        "--checkpoint",
        str(folder / "run"),
        "--runs",
        str(folder / "runs.jsonl"),
        "--trust",
        SIGNER.vkey,
    ]
    return offline_check.main(["export", str(folder / "signals.jsonl"), *files])


def test_runs_that_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(tmp_path, runs_of(*(TRUE.head(size) for size in (0, 3, 3, 9))), TRUE) == 0
    assert "runs       3 sizes that any run names of it fit" in capsys.readouterr().out
    assert check(tmp_path, runs_of(TRUE.head(3), TRUE.head(7)), TRUE, first=4) == 0


def test_a_hidden_version_of_rows_in_a_segment_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heads = [TRUE.head(2), TRUE.head(6), TRUE.head(9)]
    assert check(tmp_path, runs_of(*heads), TRUE, first=4, segment_to=7) == 0
    said = "runs       1 sizes that any run names of it fit; 2 are of rows that are not in it"
    assert said in capsys.readouterr().out
    heads[1:1] = [CLEAN.head(5)]
    assert check(tmp_path, runs_of(*heads), TRUE, first=4, segment_to=7) == 1
    assert "run 2 names another root of rows 1 to 5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("heads", "said"),
    [
        ((TRUE.head(6), CLEAN.head(6), TRUE.head(9)), "run 2 names another root of rows 1 to 6"),
        ((TRUE.head(9), CLEAN.head(9), TRUE.head(9)), "run 2 names another root of rows 1 to 9"),
        ((CLEAN.head(9), TRUE.head(9)), "run 1 names another root of rows 1 to 9"),
        ((TRUE.head(9), TRUE.head(4)), "run 1 names 9 rows, and a later one only 4"),
    ],
)
def test_a_hidden_version_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], heads: tuple[dict[str, object], ...], said: str
) -> None:
    assert check(tmp_path, runs_of(*heads), TRUE) == 1
    assert said in capsys.readouterr().err


def test_the_runs_must_be_all_that_were_signed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = runs_of(TRUE.head(6), CLEAN.head(6), TRUE.head(9))
    without = runs_of(TRUE.head(6), TRUE.head(6), TRUE.head(9))
    assert check(tmp_path, runs, TRUE, shown=without) == 1
    assert "rows 1 to 3 are not those that desk.example/log signed" in capsys.readouterr().err
    assert check(tmp_path, runs, TRUE, shown=Book(runs.rows[:2], "checkpoint_runs")) == 1
    (tmp_path / "runs.jsonl").write_bytes(b"".join(runs.export(3)))
    files = [
        "--checkpoint",
        str(tmp_path / "run"),
        "--runs",
        str(tmp_path / "runs.jsonl"),
        "--trust",
        SIGNER.vkey,
    ]
    assert offline_check.main(["export", str(tmp_path / "signals.jsonl"), *files]) == 3
    with pytest.raises(SystemExit):
        offline_check.main(["export", str(tmp_path / "signals.jsonl"), *files[2:]])
