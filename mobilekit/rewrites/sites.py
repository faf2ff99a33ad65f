"""The option with which a recipe names the sites of a rewrite."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TypeVar

from pydantic import Field
from torch.fx import GraphModule

from mobilekit.errors import UsageError, nearest
from mobilekit.models.inputs import Tensors
from mobilekit.rewrites.base import Options, Rewrite, Site


class SiteOptions(Options):
    """The sites at which a rewrite is applied."""

    sites: tuple[str, ...] = Field(
        ("*",), description="Patterns of module paths, such as blocks.3.*; a site must match one of them."
    )


Chosen = TypeVar("Chosen", bound=SiteOptions)


class SiteRewrite(Rewrite[Chosen]):
    """A rewrite whose recipe may name the sites."""

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse what the recipe does not name."""
        if any(fnmatchcase(site.path, pattern) for pattern in self.options.sites):
            return None
        return f"the recipe's sites ({', '.join(self.options.sites)}) do not name it"

    def prepare(self, graph: GraphModule, sites: list[Site], calibration: Tensors | None) -> None:
        """Check that every pattern names a site.

        Raises:
            UsageError: One names none.
        """
        paths = [site.path for site in self.find(graph)]
        for pattern in self.options.sites:
            if not any(fnmatchcase(path, pattern) for path in paths):
                raise UsageError(f"{self.name}: no site is named {pattern}.", nearest(pattern, paths))
