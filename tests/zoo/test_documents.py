"""The commands of the documents run, page by page, each block as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.command_blocks import DOCUMENTS, blocks
from tests.conftest import ROOT
from tests.zoo import MODELS
from tests.zoo.conftest import Bundles

APART = {"your-model.md": "tests/zoo/test_your_model.py runs it"}
NEEDS = {"sweeps.md": "distributed"}
"""A package of an extra without which a page cannot run."""
PAGES = [
    page
    for page in DOCUMENTS
    if page.name not in APART and any(block.language == "bash" and not block.reason for block in blocks(page))
]


@pytest.mark.skipif("ghostnetv2" not in MODELS, reason="the documents' bundle is ghostnetv2's")
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_each_block_of_a_page_runs(page: Path, tmp_path: Path, bundle_of: Bundles) -> None:
    """In a folder with the repository's `docs`, and a bundle as most pages have it.

    A block without a language right behind one of commands is what these say.
    """
    if page.name in NEEDS:
        pytest.importorskip(NEEDS[page.name])
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    if "artifacts/ghostnetv2" in page.read_text():
        (tmp_path / "artifacts").mkdir()
        (tmp_path / "artifacts" / "ghostnetv2").symlink_to(bundle_of("ghostnetv2"))
    said = ""
    for block in blocks(page):
        if block.title:
            file = tmp_path / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
        elif block.language == "bash" and not block.reason:
            done = run(block.text, tmp_path)
            said = done.stdout
            assert done.returncode == block.code, f"{page.name}:{block.line}\n{said[-3000:]}{done.stderr[-3000:]}"
            continue
        elif not block.language and said:
            missing = set(but_for_numbers(block.text)) - set(but_for_numbers(said)) - {"..."}
            assert not missing, f"{page.name}:{block.line} shows what was not said: {missing}\n{said}"
        said = ""


def run(commands: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run commands of a shell with this Python's `python` and `mobilekit`."""
    paths = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    shell = ["bash", "-euo", "pipefail", "-c", commands]
    return subprocess.run(shell, cwd=folder, env={**os.environ, **paths}, capture_output=True, text=True)


def but_for_numbers(text: str) -> list[str]:
    """Return the lines of an output in which each number is the same one: those of another machine differ."""
    return [" ".join(re.sub(r"\d[\d.]*(e[-+]\d+)?", "1", line).split()) for line in text.splitlines()]
