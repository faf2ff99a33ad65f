"""What is held of every rewrite at every use, with a proof or without.

A proof says that the function is the same. This says that there still is one: the graph holds together and runs, takes
the same inputs, gives outputs of the same shapes, and has its weights in float64. What goes wrong has the rewrite's
name, the site, and the rewrites that were applied before.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.fx import GraphModule, Node

from mobilekit.errors import GateError, MobilekitError, ToolError, first_line
from mobilekit.models.inputs import Tensors
from mobilekit.rewrites.base import Rewrite, Site
from mobilekit.rewrites.fx.graph import note_shapes, shape_of, tidy

_APPLIED = "rewrites"
"""Key of a graph's `meta`: the names of the rewrites that were applied to it."""


class _Interface(NamedTuple):
    """What a graph takes and gives."""

    inputs: list[str]
    outputs: Any
    """The outputs as the graph nests them, each as its shape."""


def matches(graph: GraphModule, action: Rewrite[Any]) -> list[tuple[Site, str | None]]:
    """Return the sites of a rewrite, each with why it must not be applied there, or None where it may.

    Raises:
        ToolError: The rewrite's code failed.
    """
    with _guarded(graph, action, "as it looked for its sites"):
        sites = action.find(graph)
    told = []
    for site in sites:
        with _guarded(graph, action, f"at {site.path}"):
            told.append((site, action.why_not(graph, site)))
    return told


def apply_at(
    graph: GraphModule,
    action: Rewrite[Any],
    sites: list[Site],
    calibration: Tensors | None,
    examples: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Apply a rewrite at these sites, in place, and check what it leaves.

    Args:
        graph: In float64; with shapes where there are `examples`.
        action: The rewrite.
        sites: Some of those that `matches` says it may be applied at.
        calibration: float64 inputs (N, ...) by name, or None.
        examples: Inputs for which shapes are noted anew, and compared; without, the graph is not run.

    Raises:
        GateError: The graph is broken, or takes or gives something else.
        ToolError: The rewrite's code failed.
    """
    before = _interface(graph)
    with _guarded(graph, action, "before the first site"):
        action.prepare(graph, sites, calibration)
    for site in sites:
        with _guarded(graph, action, f"at {site.path}"):
            action.apply(graph, site)
    try:
        tidy(graph)
        if examples is not None:
            note_shapes(graph, examples)
    except Exception as error:  # whatever torch says of a graph that does not hold together
        raise _broken(graph, action, f"cannot be run ({_words(error)})") from error
    _check(graph, action, before, has_shapes=examples is not None)
    graph.meta[_APPLIED] = (*applied_to(graph), action.name)


def applied_to(graph: GraphModule) -> tuple[str, ...]:
    """Return the names of the rewrites that were applied to a graph, in order."""
    names: tuple[str, ...] = graph.meta.get(_APPLIED, ())
    return names


def _check(graph: GraphModule, action: Rewrite[Any], before: _Interface, has_shapes: bool) -> None:
    after = _interface(graph)
    if after.inputs != before.inputs:
        raise _broken(graph, action, f"takes {', '.join(after.inputs)}, and took {', '.join(before.inputs)}")
    if has_shapes and after.outputs != before.outputs:
        raise _broken(graph, action, f"gives outputs of {after.outputs}, and gave {before.outputs}")
    for name, tensor in graph.state_dict().items():
        if tensor.is_floating_point() and tensor.dtype != torch.float64:
            raise _broken(graph, action, f"has {name} in {str(tensor.dtype).removeprefix('torch.')}, not float64")


def _interface(graph: GraphModule) -> _Interface:
    nodes = list(graph.graph.nodes)
    inputs = [str(node.target) for node in nodes if node.op == "placeholder"]
    return _Interface(inputs, next(_shapes(node.args[0]) for node in nodes if node.op == "output"))


def _shapes(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _shapes(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_shapes(each) for each in value]
    return shape_of(value) if isinstance(value, Node) else None


@contextmanager
def _guarded(graph: GraphModule, action: Rewrite[Any], where: str) -> Iterator[None]:
    """Name the rewrite in whatever its code raises; errors for the user pass as they are."""
    try:
        yield
    except MobilekitError:
        raise
    except Exception as error:  # anything may go wrong in a rewrite's code
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename == inspect.getsourcefile(type(action))]
        frame = (own or frames)[-1]
        place = f"{Path(frame.filename).name}, line {frame.lineno}"
        raise ToolError(
            f"The rewrite {action.name} failed {where}: {_words(error)} ({place}).", _advice(graph)
        ) from error


def _broken(graph: GraphModule, action: Rewrite[Any], what: str) -> GateError:
    return GateError(f"The rewrite {action.name} leaves a graph that {what}.", _advice(graph))


def _words(error: Exception) -> str:
    kind, first = type(error).__name__, first_line(error)
    return kind if first == kind else f"{kind}: {first}"


def _advice(graph: GraphModule) -> str:
    ran = ", ".join(applied_to(graph)) or "none"
    return (
        "This is a fault of the rewrite. Leave it out of the recipe, and report it.\n"
        f"Rewrites that were applied before it: {ran}."
    )
