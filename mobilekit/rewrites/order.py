"""Whether the order of a recipe's rewrites costs sites, and whether a second run would change the model again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch.fx import GraphModule

from mobilekit.rewrites.contract import applied_to

Paths = frozenset[str]
Look = Callable[[GraphModule], Paths]


class Order:
    """Sees which sites each step could change before the first step and after each that was applied.

    Args:
        names: The steps' rewrites, in order.
        looks: For each step, what returns the paths of the sites that it may change in a graph.
    """

    def __init__(self, names: Sequence[str], looks: Sequence[Look]) -> None:
        self.names = names
        self.looks = looks
        self.moments: list[list[Paths]] = []
        self._seen: tuple[str, ...] | None = None
        """The rewrites that were applied at the last moment."""

    def look(self, graph: GraphModule) -> None:
        """Note the sites of this moment; call it before the first step and after each."""
        applied = applied_to(graph)
        self.moments.append(self.moments[-1] if applied == self._seen else [look(graph) for look in self.looks])
        self._seen = applied

    def notes(self, step: int) -> list[str]:
        """Return what there is to say of one step, when all are done."""
        own = [moment[step] for moment in self.moments]
        name, notes = self.names[step], []
        for other, another in enumerate(self.names):
            before, after = own[other], own[other + 1]
            lost, new = before - after - own[step], (after - before) & own[-1]
            if other < step and another != name and lost:
                notes.append(f"{another} runs first and removes {_sites(lost, name)}, move {name} before {another}")
            if other == step and after:
                notes.append(f"a second run would change {_first(after)} again")
            if other > step and new:
                notes.append(f"{another} runs later and adds {_sites(new, name)}, move {name} after {another}")
        return notes


def _sites(paths: Paths, name: str) -> str:
    count, them = (f"{len(paths)} sites", "them") if len(paths) > 1 else ("a site", "it")
    return f"{count} that {name} would match ({_first(paths)}). To rewrite {them} with {name}"


def _first(paths: Paths) -> str:
    first, more = min(paths), len(paths) - 1
    return f"{first} and {more} more sites" if more > 1 else f"{first} and another site" if more else first
