"""What a rewrite is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict
from torch.fx import GraphModule

from mobilekit.models.inputs import Tensors
from mobilekit.rewrites.exactness import Exactness as Exactness


class Options(BaseModel):
    """Parameters of a rewrite, as a recipe gives them; none by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Site:
    """A place in the graph where a rewrite matches."""

    node: str
    """Name of the graph's node."""
    path: str
    """Path of the PyTorch module that the node belongs to."""
    detail: str = ""
    """What applying the rewrite here would do or cost, where that differs from site to site."""


OptionsType = TypeVar("OptionsType", bound=Options)


class Rewrite(ABC, Generic[OptionsType]):
    """One change of the graph, small enough to be understood and proved.

    A graph is a torch.fx GraphModule in float64 and in evaluation mode. Its calls change nothing in place: layers with
    weights are modules, and all else is an operator of ATen, with one spelling for each operation (`fx/ops.py`). Its
    nodes carry `meta["tensor_meta"]` (the shape) for the recipe's inputs, and it is of their height and width. `find`
    names every place that looks like this rewrite's business, also those that it then refuses: a refusal is a reason
    that the user reads, never silence.

    What it leaves must hold together and run, take the same inputs, give outputs of the same shapes, and have its
    weights in float64; that is checked at every use, and so is the promise of its `exactness`. A failure names the
    rewrite and the site.
    """

    name: ClassVar[str]
    exactness: ClassVar[Exactness]
    summary: ClassVar[str]
    graph: ClassVar[str] = ""
    """The form of graph that it was written for. A package's rewrite says `graph = "aten"`, or it is refused."""
    experimental: ClassVar[str] = ""
    """For a rewrite in no recipe that comes with mobilekit: what it showed, and where it is right. Else empty."""
    wrong_on: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """What computes its form wrongly, by the kind of target: the rewrite leaves a model for such a target alone."""
    options_type: ClassVar[type[Options]] = Options

    def __init__(self, options: OptionsType) -> None:
        self.options = options

    @abstractmethod
    def find(self, graph: GraphModule) -> list[Site]:
        """Return the sites in the order of the graph."""

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Return why the rewrite must not be applied at `site`, or None where it may."""
        return None

    def prepare(self, graph: GraphModule, sites: list[Site], calibration: Tensors | None) -> None:
        """Measure what `apply` needs at all `sites`, before the first is changed.

        Args:
            graph: The graph before this rewrite.
            sites: Where it will be applied.
            calibration: float64 inputs (N, ...) by name, or None where there are none.
        """

    @abstractmethod
    def apply(self, graph: GraphModule, site: Site) -> None:
        """Change the graph at one site, in place."""

    def left_alone(self, site: Site) -> str | None:
        """Return why `apply` changed nothing at a site, by what `prepare` measured; None where it did."""
        return None

    def told(self, site: Site) -> str:
        """Return what `apply` did at a site, or what that costs, where it differs from site to site."""
        return site.detail
