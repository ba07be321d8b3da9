"""Every block of the second share of the pages runs as printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import Server
from tests.documents.blocks import read_page
from tests.documents.desk import run_page
from tests.documents.pages import name_of, share

pytestmark = pytest.mark.any_server


@pytest.mark.parametrize("path", share(1), ids=name_of)
def test_page_runs_as_printed(path: Path, binaries: Path, tmp_path: Path) -> None:
    page = read_page(path)
    if "run by" in page.comments or not any(block.is_run for block in page.blocks):
        pytest.skip(page.comments.get("run by", "nothing in it is run"))
    with Server(binaries) as server:
        run_page(page, server, tmp_path)
