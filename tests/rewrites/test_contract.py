"""A rewrite that fails or breaks the graph is named, with its site and what ran before it; users see no traceback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.errors import GateError, MobilekitError, ToolError, UsageError
from mobilekit.models.inputs import Tensors
from mobilekit.recipes.load import parse_recipe
from mobilekit.rewrites import catalogue
from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.engine import rewrite
from mobilekit.rewrites.fx.graph import node_named
from tests.rewriting import Model, normal

RECIPE = """
input: {size: 8}
rewrites:
  - name: remove-identity
  - name: noop-slice
  - name: test
"""
Change = Callable[[GraphModule, Node], Any]


class Toy(Rewrite[Options]):
    """Does what a test says, at each convolution."""

    name = "test"
    exactness = Exactness.EXACT
    summary = ""
    failing = ""

    def fail(self, at: str) -> None:
        if at == self.failing:
            raise KeyError(at)

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the convolutions."""
        self.fail("find")
        return [Site(node.name, str(node.target)) for node in graph.graph.nodes if str(node.target) in ("conv", "last")]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Allow all."""
        self.fail(f"why_not {site.path}")
        return None

    def prepare(self, graph: GraphModule, sites: list[Site], calibration: Tensors | None) -> None:
        """Measure nothing."""
        self.fail("prepare")

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Change nothing."""
        self.fail(f"apply {site.path}")


def net() -> Model:
    layers = {"conv": nn.Conv2d(3, 4, 1), "nothing": nn.Dropout(), "last": nn.Conv2d(4, 2, 1)}
    return Model(layers, lambda m, x: m.last(m.nothing(m.conv(x))))


def run(monkeypatch: pytest.MonkeyPatch, kind: type[Toy], prove: bool = True) -> MobilekitError:
    """Apply it to a net after two other rewrites, of which one matches; return what is said."""
    monkeypatch.setitem(catalogue.REWRITES, "test", kind)
    with pytest.raises(MobilekitError) as caught:
        rewrite(net().float(), parse_recipe(RECIPE, "t", "t.yaml"), {"input": normal(0, 3, 3, 8, 8).float()}, prove)
    return caught.value


@pytest.mark.parametrize("prove", [True, False])
@pytest.mark.parametrize(
    ("at", "where"),
    [
        ("find", "as it looked for its sites"),
        ("why_not last", "at last"),
        ("prepare", "before the first site"),
        ("apply last", "at last"),
    ],
)
def test_a_rewrite_that_raises_is_named_with_the_site(
    monkeypatch: pytest.MonkeyPatch, at: str, where: str, prove: bool
) -> None:
    error = run(monkeypatch, type("Failing", (Toy,), {"failing": at}), prove)
    assert isinstance(error, ToolError)
    assert error.what.startswith(f"The rewrite test failed {where}: KeyError: '{at}' (test_contract.py, line ")
    before = "remove-identity" if at in ("prepare", "apply last") or not prove else "none"
    assert error.hint.endswith(f"Rewrites that were applied before it: {before}.")
    assert isinstance(error.__cause__, KeyError)


def test_an_exception_without_a_message_is_told_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Toy):
        def apply(self, graph: GraphModule, site: Site) -> None:
            raise StopIteration

    assert "at conv: StopIteration (test_contract.py" in run(monkeypatch, Silent).what


def test_what_a_rewrite_tells_the_user_passes_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Telling(Toy):
        def prepare(self, graph: GraphModule, sites: list[Site], calibration: Tensors | None) -> None:
            raise UsageError("No site is named so.")

    error = run(monkeypatch, Telling)
    assert isinstance(error, UsageError)
    assert str(error) == "No site is named so."


def drop_weights(graph: GraphModule, node: Node) -> None:
    graph.delete_submodule(str(node.target))


def use_before_it_is_made(graph: GraphModule, node: Node) -> None:
    node.prepend(next(iter(node.users)))


def narrow(graph: GraphModule, node: Node) -> None:
    graph.set_submodule(str(node.target), nn.Conv2d(1, 1, 1).double())


def in_float32(graph: GraphModule, node: Node) -> None:
    graph.get_submodule(str(node.target)).float()


def give_twice(graph: GraphModule, node: Node) -> None:
    end = next(each for each in graph.graph.nodes if each.op == "output")
    if not isinstance(end.args[0], tuple):
        end.args = ((end.args[0], end.args[0]),)


def smaller(graph: GraphModule, node: Node) -> None:
    graph.set_submodule(
        str(node.target), nn.Conv2d(*graph.get_submodule(str(node.target)).weight.shape[1::-1], 3).double()
    )


def other_input(graph: GraphModule, node: Node) -> None:
    for each in graph.graph.nodes:
        if each.op == "placeholder":
            each.target = "image"


@pytest.mark.parametrize("prove", [True, False])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (drop_weights, "cannot be run (RuntimeError: Node conv "),
        (use_before_it_is_made, "cannot be run (RuntimeError: "),
        (narrow, "cannot be run (RuntimeError: "),
        (in_float32, "has conv.weight in float32, not float64."),
        (give_twice, "gives outputs of [(1, 2, 8, 8), (1, 2, 8, 8)], and gave (1, 2, 8, 8)."),
        (smaller, "gives outputs of (1, 2, 4, 4), and gave (1, 2, 8, 8)."),
        (other_input, "takes image, and took x."),
    ],
)
def test_a_broken_graph_is_a_fault_of_the_rewrite(
    monkeypatch: pytest.MonkeyPatch, change: Change, says: str, prove: bool
) -> None:
    class Breaking(Toy):
        def apply(self, graph: GraphModule, site: Site) -> None:
            with torch.no_grad():
                change(graph, node_named(graph, site.node))

    error = run(monkeypatch, Breaking, prove)
    assert isinstance(error, GateError)
    assert error.what.startswith(f"The rewrite test leaves a graph that {says}"), error.what
    assert error.hint.endswith("Rewrites that were applied before it: remove-identity.")
