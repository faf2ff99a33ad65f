"""Rewrites that other packages bring through the entry point group `mobilekit.rewrites`."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.fx import GraphModule

import mobilekit
from mobilekit.errors import UsageError
from mobilekit.jobs.request import ExportRequest, request_digest
from mobilekit.jobs.source import Source
from mobilekit.recipes.load import LoadedRecipe, parse_recipe
from mobilekit.rewrites.catalogue import REWRITES, find_rewrite, rewrite_names, steps_of
from mobilekit.rewrites.engine import rewrite
from tests.conftest import ROOT, Cli

EXAMPLE = ROOT / "docs" / "examples" / "own_rewrite.py"
Install = Callable[[str, str], Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install the example's module as a package: its file, and its metadata with these entry points."""
    made = []

    def put(package: str, entries: str) -> Path:
        site = tmp_path / package
        metadata = site / f"{package}-1.0.dist-info"
        metadata.mkdir(parents=True)
        shutil.copy(EXAMPLE, site / f"{package}.py")
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[mobilekit.rewrites]\n{entries}\n")
        monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()
        made.append(package)
        return site

    yield put
    for package in made:
        sys.modules.pop(package, None)


@pytest.fixture
def example(install: Install) -> Path:
    return install("own_rewrite", "drop-second-relu = own_rewrite:DropSecondReLU")


def recipe(name: str = "drop-second-relu") -> LoadedRecipe:
    return parse_recipe(f"input: {{size: 8}}\nrewrites:\n  - name: {name}\n", "t", "t.yaml")


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Sigmoid(), nn.ReLU()
    )


def test_the_example_is_found_applied_and_proved(example: Path) -> None:
    assert rewrite_names() == [*REWRITES, "drop-second-relu"]
    assert find_rewrite("drop-second-relu").__module__ == "own_rewrite"
    [step] = rewrite(net(), recipe(), {"input": torch.randn(3, 3, 8, 8)}).steps
    assert step.applied == ("2", "6")
    assert {(refusal.path, refusal.reason) for refusal in step.refused} == {
        ("1", "what _0 gives may be negative"),
        ("4", "what _3 gives may be negative"),
    }
    assert step.proof is not None
    assert step.proof.relative_error == 0.0
    assert step.notes == ()
    graph = mobilekit.rewrite(net(), recipe())
    assert isinstance(graph, GraphModule)
    assert sum(node.target is torch.ops.aten.relu.default for node in graph.graph.nodes) == 2


def test_the_command_line_lists_it(example: Path, cli_apart: Cli) -> None:
    done = cli_apart("rewrites", "list", "--json", PYTHONPATH=f"{ROOT}:{example}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[-1] == {
        "name": "drop-second-relu",
        "exactness": "exact-when",
        "summary": "ReLU of values that cannot be negative: dropped",
        "experimental": None,
        "options": {},
    }


def test_a_changed_package_makes_a_new_export(example: Path) -> None:
    request = ExportRequest(Source("ghostnet", recipe()), example / "out")
    before = request_digest(request)
    assert request_digest(request) == before
    with (example / "own_rewrite.py").open("a") as file:
        file.write("# changed\n")
    assert request_digest(request) != before


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ("mine = own2:Missing", r"The rewrite mine of own2 \(own2:Missing\) cannot be loaded: AttributeError: "),
        ("mine = no_such_module:A", r"of own2 \(no_such_module:A\) cannot be loaded: ModuleNotFoundError: "),
        ("mine = own2:RELU", r"own2 \(own2:RELU\) names mine in mobilekit.rewrites, which is no"),
        ("mine = own2:Exactness", r"which is no subclass of Rewrite"),
        ("mine = own2:Rewrite", r"own2 \(own2:Rewrite\) names mine in mobilekit.rewrites, and the class is abstract"),
        ("mine = own2:DropSecondReLU", r"and the class is named drop-second-relu"),
    ],
)
def test_packages_that_cannot_be_used_are_named(install: Install, entries: str, says: str) -> None:
    install("own2", entries)
    with pytest.raises(UsageError, match=says):
        steps_of(recipe("mine"))


def test_one_for_an_older_graph_is_refused_with_the_page_that_says_how_to_port_it(install: Install, cli: Cli) -> None:
    site = install("old_rewrite", "drop-second-relu = old_rewrite:DropSecondReLU")
    file = site / "old_rewrite.py"
    file.write_text(file.read_text().replace('    graph = "aten"\n', ""))
    (site / "r.yaml").write_text("input: {size: 8}\nrewrites: [{name: drop-second-relu}]\n")
    done = cli("rewrites", "explain", "ghostnet", "--recipe", str(site / "r.yaml"), PYTHONPATH=f"{ROOT}:{site}")
    assert done.returncode == 2
    assert "was written for another form of graph" in done.stderr
    assert "docs/rewrites.md" in done.stderr


def test_two_packages_of_one_name_are_refused(example: Path, install: Install) -> None:
    install("own3", "drop-second-relu = own3:DropSecondReLU")
    with pytest.raises(UsageError, match=r"Two packages bring a rewrite drop-second-relu: own3 \(.*\) and own_rewrite"):
        steps_of(recipe())


def test_mobilekits_own_rewrites_cannot_be_replaced(install: Install) -> None:
    own = find_rewrite("fold-batch-norm")
    install("own4", "fold-batch-norm = own4:Missing")
    assert find_rewrite("fold-batch-norm") is own
    assert rewrite_names() == list(REWRITES)


def test_names_of_installed_rewrites_are_suggested(example: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no rewrite drop-second-relo\.\nDid you mean drop-second-relu\?"):
        steps_of(recipe("drop-second-relo"))
    with pytest.raises(UsageError, match=r"There is no rewrite drop-second-relo\.\nDid you mean drop-second-relu\?"):
        find_rewrite("drop-second-relo")
