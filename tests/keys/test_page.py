"""docs/keys.md runs as printed, with a real ssh-agent, a token of SoftHSM2, and openssl."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import Server
from tests.documents.blocks import read_page
from tests.documents.desk import run_page
from tests.keys.holders import needs_agent, needs_openssl, needs_token
from tests.support import ROOT

pytestmark = [pytest.mark.any_server, needs_agent, needs_openssl, needs_token]


def test_the_page_runs_as_printed(binaries: Path, tmp_path: Path) -> None:
    with Server(binaries) as server:
        run_page(read_page(ROOT / "docs" / "keys.md"), server, tmp_path)
