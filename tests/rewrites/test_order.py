"""What is said of the order of a recipe's steps, and how often a graph is looked at for it."""

from __future__ import annotations

import torch
from torch import nn
from torch.fx import GraphModule

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.contract import apply_at
from mobilekit.rewrites.fx.graph import trace
from mobilekit.rewrites.order import Order, Paths


class Nothing(Rewrite[Options]):
    """Changes nothing."""

    name = "nothing"
    exactness = Exactness.EXACT
    summary = ""

    def find(self, graph: GraphModule) -> list[Site]:
        """Return no site."""
        return []

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Change nothing."""


def order_of(*paths: list[set[str]]) -> list[str]:
    """Return the notes of two or three steps, of which each is applied and sees these paths at each moment."""
    seen = {name: iter(each) for name, each in zip(("one", "two", "three"), paths, strict=False)}
    order = Order(tuple(seen), [lambda _graph, name=name: frozenset(next(seen[name])) for name in seen])  # type: ignore[misc]
    graph = trace(nn.ReLU(), {"input": torch.zeros(1, 3)})
    order.look(graph)
    for _name in seen:
        apply_at(graph, Nothing(Options()), [], None)
        order.look(graph)
    return [note for index in range(len(seen)) for note in order.notes(index)]


def test_sites_are_counted_and_the_first_is_named() -> None:
    assert order_of([set(), set(), set()], [{"a", "b", "c"}, set(), set()]) == [
        "one runs first and removes 3 sites that two would match (a and 2 more sites). To rewrite them with two, "
        "move two before one"
    ]
    assert order_of([set(), set(), {"a", "b"}], [set(), set(), set()]) == [
        "two runs later and adds 2 sites that one would match (a and another site). To rewrite them with one, "
        "move one after two"
    ]


def test_sites_that_are_gone_again_are_not_told() -> None:
    nothing: list[set[str]] = [set()] * 4
    assert order_of([set(), set(), {"a", "b"}, {"b"}], nothing, nothing) == [
        "two runs later and adds a site that one would match (b). To rewrite it with one, move one after two"
    ]
    assert order_of([set(), set(), {"a"}, set()], nothing, nothing) == []


def test_a_step_that_would_change_the_model_again_says_so() -> None:
    assert order_of([{"a"}, {"a"}, {"a"}], [set()] * 3) == ["a second run would change a again"]
    assert order_of([{"a"}, set(), set()], [set()] * 3) == []


def test_a_graph_that_no_step_changed_is_not_looked_at_again() -> None:
    looks: list[int] = []

    def look(_graph: GraphModule) -> Paths:
        looks.append(1)
        return frozenset()

    order = Order(("one", "two"), [look, look])
    graph = trace(nn.ReLU(), {"input": torch.zeros(1, 3)})
    order.look(graph)
    order.look(graph)
    assert len(looks) == 2
    apply_at(graph, Nothing(Options()), [], None)
    order.look(graph)
    assert len(looks) == 4
    assert len(order.moments) == 3
