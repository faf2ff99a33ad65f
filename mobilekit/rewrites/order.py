"""Whether the order of a recipe's rewrites costs sites, and whether a second run would change the model again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch.fx import GraphModule

Paths = frozenset[str]
Look = Callable[[GraphModule], Paths]


class Order:
    """Sees which sites each step could change before the first step and after each.

    Args:
        names: The steps' rewrites, in order.
        looks: For each step, what returns the paths of the sites that it may change in a graph.
    """

    def __init__(self, names: Sequence[str], looks: Sequence[Look]) -> None:
        self.names = names
        self.looks = looks
        self.moments: list[list[Paths]] = []

    def look(self, graph: GraphModule) -> None:
        """Note the sites of this moment; call it before the first step and after each."""
        self.moments.append([look(graph) for look in self.looks])

    def notes(self, step: int) -> list[str]:
        """Return what there is to say of one step, when all are done."""
        own = [moment[step] for moment in self.moments]
        name, notes = self.names[step], []
        for other, word in enumerate(self.names):
            before, after = own[other], own[other + 1]
            lost, new = before - after - own[step], (after - before) & own[-1]
            if other < step and word != name and lost:
                notes.append(
                    f"{_sites(lost)} went with {word}, which comes first; if that is not meant, put {name} before it"
                )
            if other == step and after:
                notes.append(f"a second run would change {_sites(after)} again")
            if other > step and new:
                notes.append(
                    f"{_sites(new)} came with {word}, which comes later; to change them too, put {name} after it"
                )
        return notes


def _sites(paths: Paths) -> str:
    first, more = min(paths), len(paths) - 1
    return f"{first} and {more} more sites" if more > 1 else f"{first} and another site" if more else first
