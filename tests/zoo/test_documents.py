"""The commands of the documents run, page by page, each block as it stands there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.command_blocks import DOCUMENTS, blocks
from tests.conftest import ROOT
from tests.zoo import MODELS
from tests.zoo.conftest import Bundles

APART = {"your-model.md": "tests/zoo/test_your_model.py runs it"}
PAGES = [
    page
    for page in DOCUMENTS
    if page.name not in APART and any(block.language == "bash" and not block.reason for block in blocks(page))
]


@pytest.mark.skipif("ghostnetv2" not in MODELS, reason="the documents' bundle is ghostnetv2's")
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_each_block_of_a_page_runs(page: Path, tmp_path: Path, bundle_of: Bundles) -> None:
    """In a folder with the repository's `docs`, and a bundle as most pages have it."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    if "artifacts/ghostnetv2" in page.read_text():
        (tmp_path / "artifacts").mkdir()
        (tmp_path / "artifacts" / "ghostnetv2").symlink_to(bundle_of("ghostnetv2"))
    paths = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    for block in blocks(page):
        if block.title:
            file = tmp_path / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
        elif block.language == "bash" and not block.reason:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.text],
                cwd=tmp_path,
                env={**os.environ, **paths},
                capture_output=True,
                text=True,
            )
            assert done.returncode == block.code, (
                f"{page.name}:{block.line}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
            )
