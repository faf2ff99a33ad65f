"""A model of one's own is another one as soon as a file that it imports is."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mobilekit.jobs.build import open_source
from mobilekit.jobs.request import ExportRequest, request_digest
from mobilekit.jobs.source import Source, choose_recipe
from mobilekit.models.imported_files import imported_files

NET = """
import json
from pathlib import Path
import numpy as np
from torch import nn
import blocks14.scale as scaled
from blocks14 import parts

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        nn.init.ones_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)
        self.factor = json.loads((Path(__file__).parent / "factor.json").read_text())
    def forward(self, x):
        return parts.halved(self.conv(x)).mean((2, 3)) * scaled.SCALE * self.factor
"""
PARTS = "from .deeper.half import HALF\ndef halved(x):\n    return x * HALF\n"


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Path]:
    """A model of a file, with parts in a package beside it, one of which imports another relative to itself."""
    files = {
        "net.py": NET,
        "factor.json": "2",
        "blocks14/__init__.py": "",
        "blocks14/scale.py": "SCALE = 3\n",
        "blocks14/parts.py": PARTS,
        "blocks14/unused.py": "",
        "blocks14/deeper/__init__.py": "",
        "blocks14/deeper/half.py": "HALF = 0.5\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    yield tmp_path / "net.py"
    for name in [name for name in sys.modules if name.startswith("blocks14")]:
        del sys.modules[name]


def digest(net: Path) -> str:
    model = f"{net}:Net"
    recipe = choose_recipe(model, None)
    small = recipe.recipe.model_copy(update={"input": recipe.recipe.input.model_copy(update={"size": 16})})
    request = ExportRequest(Source(model, type(recipe)(**{**vars(recipe), "recipe": small})), net.parent / "out")
    return request_digest(request, open_source(request.source))


def test_all_files_that_are_imported_are_found_and_no_library(net: Path) -> None:
    open_source(Source(f"{net}:Net", choose_recipe(f"{net}:Net", None)))
    found = [path.relative_to(net.parent).as_posix() for path in imported_files(net)]
    assert found == [
        "blocks14/__init__.py",
        "blocks14/deeper/__init__.py",
        "blocks14/deeper/half.py",
        "blocks14/parts.py",
        "blocks14/scale.py",
    ]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("blocks14/scale.py", "SCALE = 4\n"),
        ("blocks14/deeper/half.py", "HALF = 0.25\n"),
        ("net.py", f"{NET}\n# a word\n"),
        ("factor.json", json.dumps(3)),
    ],
)
def test_a_change_asks_for_another_export(file: str, text: str, net: Path) -> None:
    before = digest(net)
    assert digest(net) == before
    (net.parent / "blocks14/unused.py").write_text("USED = False\n")
    assert digest(net) == before, "a file that nothing imports has no part in it"
    (net.parent / file).write_text(text)
    assert digest(net) != before
