"""Every block of the second share of the pages runs as printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documents.blocks import read_page
from tests.documents.desk import Beginnings, beginning_of, run_prepared
from tests.documents.pages import name_of, share

pytestmark = pytest.mark.any_server


@pytest.mark.parametrize("path", share(1), ids=name_of)
def test_page_runs_as_printed(path: Path, beginnings: Beginnings, tmp_path: Path) -> None:
    page = read_page(path)
    if "run by" in page.comments or not any(block.is_run for block in page.blocks):
        pytest.skip(page.comments.get("run by", "nothing in it is run"))
    with beginnings.copied(beginning_of(page)) as server:
        run_prepared(page, server, tmp_path)
