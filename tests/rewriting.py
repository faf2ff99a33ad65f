"""What the tests of rewrites share: small models with random weights, and what is asserted of every rewrite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Rewrite
from mobilekit.rewrites.fx.graph import note_shapes, tidy, trace
from mobilekit.rewrites.proof import relative_error
from tests.properties import times

quick = settings(times(0.8), derandomize=True)
seeds = st.integers(0, 2**16)
sizes = st.integers(5, 10)
Layers = dict[str, nn.Module]
Forward = Callable[[Any, torch.Tensor], Any]


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Model(nn.Module):
    """Layers, and what to do with them; every parameter and statistic random, scales of both signs."""

    def __init__(self, layers: Layers, forward: Forward, seed: int = 0) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.body = forward
        self.double().eval()
        for index, (name, tensor) in enumerate(self.state_dict().items()):
            if tensor.is_floating_point():
                values = normal(seed + index, *tensor.shape)
                tensor.copy_(values.abs() + 0.1 if name.endswith("running_var") else values)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run `body`."""
        return self.body(self, x)


def traced(model: nn.Module, x: torch.Tensor) -> GraphModule:
    graph = trace(model, {"input": x})
    note_shapes(graph, {"input": x})
    return graph


def reasons(action: Rewrite[Any], model: nn.Module, x: torch.Tensor) -> list[str | None]:
    graph = traced(model, x)
    return [action.why_not(graph, site) for site in action.find(graph)]


def rewritten(action: Rewrite[Any], model: nn.Module, x: torch.Tensor) -> GraphModule:
    """Apply at all sites, refused or not."""
    graph = traced(model, x)
    sites = action.find(graph)
    action.prepare(graph, sites, None)
    for site in sites:
        action.apply(graph, site)
    tidy(graph)
    return graph


def calls(graph: GraphModule, kind: type[nn.Module]) -> list[Node]:
    nodes = [node for node in graph.graph.nodes if node.op == "call_module"]
    return [node for node in nodes if isinstance(graph.get_submodule(str(node.target)), kind)]


@torch.no_grad()
def assert_kept(model: nn.Module, graph: GraphModule, *inputs: torch.Tensor) -> None:
    for x in inputs:
        before = model(x.clone())  # a model may work in place
        assert before.abs().max() > 0
        assert relative_error(before, graph(x.clone())) <= 1e-12


def assert_exact(action: Rewrite[Any], model: nn.Module, *inputs: torch.Tensor, sites: int = 1) -> GraphModule:
    """Every site is allowed, the function stays on all inputs, and nothing is left to do; return the first graph."""
    assert reasons(action, model, inputs[0]) == [None] * sites
    for x in inputs:  # a graph is of one size
        assert_kept(model, rewritten(action, model, x), x)
    graph = rewritten(action, model, inputs[0])
    note_shapes(graph, {"input": inputs[0]})
    assert None not in [action.why_not(graph, site) for site in action.find(graph)]
    return graph


def assert_refused_for_a_reason(action: Rewrite[Any], model: nn.Module, x: torch.Tensor, reason: str) -> None:
    """The refusal says `reason`, and ignoring it breaks the model or changes its function."""
    told = [text for text in reasons(action, model, x) if text]
    assert told, "nothing was refused"
    assert any(reason in text for text in told), told
    with torch.no_grad():
        try:
            after = rewritten(action, model, x)(x)
        except (AssertionError, AttributeError, RuntimeError, SyntaxError, TypeError):
            return
        assert relative_error(model(x), after) > 1e-3
