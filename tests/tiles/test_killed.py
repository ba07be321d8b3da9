"""A run that is killed at any step: what is published stays whole, and the next run goes on."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.tiles.log import MadeUpLog, files_in
from tests.tiles.reader import Reader

pytestmark = pytest.mark.any_server

_KILLED, _DONE, _FAILED = 9, 0, 1
#: Every call by which a run changes something on disk.
STEPS = ("open", "write", "fsync", "replace", "mkdir", "rmdir", "unlink")


def run_until(step: int, folder: Path, size: int) -> int:
    """Publish in a process that ends, without any cleaning up, before one of its steps; gives its exit code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child does nothing with threads
        child = os.fork()
    if child == 0:
        code = _FAILED
        try:
            _count_down(step)
            MadeUpLog(size).publish(folder, note=size)
            code = _DONE
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _count_down(step: int) -> None:
    left = [step]

    def counting(function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                os._exit(_KILLED)
            return function(*arguments, **options)

        return call

    for name in STEPS:
        setattr(os, name, counting(getattr(os, name)))


@pytest.mark.parametrize(
    ("before", "after"), [(0, 3), (300, 700), pytest.param(256, 512, marks=pytest.mark.long)]
)
def test_at_every_step(tmp_path: Path, before: int, after: int) -> None:
    start, whole = tmp_path / "start", tmp_path / "whole"
    if before:
        MadeUpLog(before).publish(start, note=before)
    MadeUpLog(after).publish(whole, note=after)
    step = 0
    while True:
        folder = tmp_path / f"step-{step}"
        if before:
            shutil.copytree(start, folder)
        code = run_until(step, folder, after)
        assert code in (_KILLED, _DONE)
        if (folder / "tree").exists():
            reader = Reader(folder)
            assert reader.size in (before, after)
            reader.check()
            if (folder / "checkpoint").exists():
                signed = int((folder / "checkpoint").read_text(encoding="utf-8").splitlines()[1])
                assert signed in (before, after)
                assert signed <= reader.size
        MadeUpLog(after).publish(folder, note=after)
        expected, found = files_in(whole), files_in(folder)
        assert {name: found.get(name) for name in expected} == expected
        assert set(found) - set(expected) <= (set(files_in(start)) if before else set())
        if code == _DONE:
            break
        step += 1
    assert step > 20


def test_what_a_power_cut_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file gets its name before its bytes are on disk, and no tree before all names are."""
    synced: set[int] = set()
    unsynced: set[Path] = set()
    fsync, replace, mkdir = os.fsync, os.replace, os.mkdir

    def note_sync(descriptor: int) -> None:
        inode = os.fstat(descriptor).st_ino
        synced.add(inode)
        unsynced.difference_update([folder for folder in unsynced if folder.stat().st_ino == inode])
        fsync(descriptor)

    def note_name(source: Path, target: Path) -> None:
        assert source.stat().st_ino in synced
        if target.name in ("tree", "checkpoint"):
            assert unsynced == set()
        replace(source, target)
        unsynced.add(target.parent)

    def note_folder(path: Path, *options: Any) -> None:
        mkdir(path, *options)
        if path.name != ".new":
            unsynced.add(path.parent)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_name)
    monkeypatch.setattr(os, "mkdir", note_folder)
    MadeUpLog(700).publish(tmp_path / "log", note=700)
    MadeUpLog(66_000).publish(tmp_path / "log", note=66_000)
    assert unsynced == set()
