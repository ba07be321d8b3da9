"""A `git diff` of a SQL file names the function that a change stands in, once the clone includes bin/lib/gitconfig."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import ROOT

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="no git")

SQL = """\
create table orders (
  id bigint
);

create or replace function _first_order(wanted text)
returns bigint
language plpgsql
as $$
declare
  found bigint;
begin
  select min(id) into found from orders;
  found := 1;
  found := 2;
  return found;
end
$$;
comment on function _first_order is 'The first one.';
"""


def git(folder: Path, *arguments: str) -> str:
    """What git prints, with no configuration but the repository's own."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with this project's attributes, in which a function of a SQL file was changed."""
    (tmp_path / "bin" / "lib").mkdir(parents=True)
    for name in (".gitattributes", "bin/lib/gitconfig"):
        shutil.copy(ROOT / name, tmp_path / name)
    file = tmp_path / "orders.sql"
    file.write_text(SQL)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    file.write_text(SQL.replace("found := 2", "found := 3"))
    return tmp_path


def documented_command() -> list[str]:
    """The command that CONTRIBUTING.md gives, without `git` before it."""
    found = re.search("^git (config [^#]+)", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.M)
    assert found
    return found[1].split()


def test_the_hunk_header_names_the_function(repository: Path) -> None:
    git(repository, *documented_command())
    header = next(line for line in git(repository, "diff", "-U0").splitlines() if line.startswith("@@"))
    assert header.endswith("@@ create or replace function _first_order(wanted text)")


def test_without_the_configuration_a_diff_still_works(repository: Path) -> None:
    assert "+  found := 3;" in git(repository, "diff", "-U0")
