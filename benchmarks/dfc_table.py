"""What DFC attention's linear maps lose as depthwise convolutions, for each kernel size and way to fit.

Run from the repository's root: `python -m benchmarks.dfc_table ghostnetv2 --plot dfc.svg`. Fits convolutions of 1 to 11
taps to the maps of a GhostNetV2, in each way that the rewrite dfc-dense knows, on the recipe's calibration inputs, and
shows error, drift and multiply-accumulates on inputs that were not fitted on.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text
from torch import nn
from torch.fx import GraphModule, Interpreter, Node

import mobilekit
from mobilekit.cli.render.plots import check_place, save
from mobilekit.errors import UsageError
from mobilekit.jobs.source import recipe_of_model
from mobilekit.models.dfc import DenseFullyConnected, FullyConnected, SharedFullyConnected
from mobilekit.models.outputs import named_outputs
from mobilekit.recipes.inputs.builtin import calibration_inputs, evaluation_inputs
from mobilekit.rewrites.drift import at_once, drift_between, finite
from mobilekit.rewrites.fx.graph import input_node, module_of, note_shapes, shape_of, tidy, trace
from mobilekit.rewrites.fx.precision import compute_in
from mobilekit.rewrites.rules.dfc_dense import DFCDense, DFCDenseOptions
from mobilekit.store.bundle import INPUT

KERNELS = (1, 3, 5, 7, 9, 11)
FITS: tuple[str, ...] = get_args(DFCDenseOptions.model_fields["fit"].annotation)
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class DFCRow:
    """All maps of the model with K taps, fitted in one way."""

    kernel_size: int
    fit: str
    macs: int
    """Of all maps together."""
    error: float
    """Relative L2 change of an attention's two maps together on the reference's activations; mean of all attentions."""
    worst_error: float
    worst_attention: str
    drift: float
    """Relative L2 change of the model's outputs."""
    top1_agreement: float


@dataclass(frozen=True)
class DFCTable:
    """The rows, and what they are compared with."""

    rows: tuple[DFCRow, ...]
    attentions: int
    shared_kernel_sizes: tuple[int, ...]
    """Taps of the model's own shared maps: from there on the convolutions are exact. Empty where all are dense."""
    fully_connected_macs: int
    """Of the maps as full matrices along each axis."""

    def to_json(self) -> dict[str, Any]:
        """Return the table as JSON data."""
        figures = ("error", "worst_error", "drift")
        rows = [
            {name: finite(value) if name in figures else value for name, value in asdict(row).items()}
            for row in self.rows
        ]
        return {**asdict(self), "shared_kernel_sizes": list(self.shared_kernel_sizes), "rows": rows}


def dfc_table(
    model: nn.Module,
    shape: tuple[int, ...],
    calibration: torch.Tensor,
    evaluation: torch.Tensor,
    progress: Callable[[str], None] = lambda _message: None,
) -> DFCTable:
    """Fit convolutions of several sizes to the model's DFC maps, and measure each on other inputs, in float64.

    Shared maps are taken as the matrices that they are, so that less taps than their own can be tried too.

    Args:
        model: The reference model, float32; left as it is.
        shape: Shape of its input, NCHW.
        calibration: float32 inputs (N, C, H, W) to fit on.
        evaluation: float32 inputs (N, C, H, W) to measure on.
        progress: Is told what goes on.

    Raises:
        UsageError: The model has no such maps.
    """
    graph = compute_in(trace(model, {INPUT: torch.zeros(shape)}), torch.float64)
    note_shapes(graph, {INPUT: torch.zeros(shape, dtype=torch.float64)})
    nodes = [node for node in graph.graph.nodes if isinstance(module_of(graph, node), FullyConnected)]
    if not nodes:
        raise UsageError("The model has no DFC attention written as fully connected maps.")
    shared = _taps(graph, nodes)
    lengths = _make_dense(graph, nodes)
    test = _Attentions(graph, nodes, evaluation.double())
    rows = []
    largest = max(shared) if len(shared) == 1 else 2 * max(lengths)  # more taps than shared maps have add nothing
    for kernel in (kernel for kernel in KERNELS if kernel <= largest):
        for fit in FITS:
            progress(f"{kernel} taps by {fit}")
            fitted = copy.deepcopy(graph)
            action = DFCDense(DFCDenseOptions.model_validate({"kernel_size": kernel, "fit": fit}))
            sites = action.find(fitted)
            action.prepare(fitted, sites, {INPUT: calibration.double()})
            for site in sites:
                action.apply(fitted, site)
            tidy(fitted)
            macs = sum(kernel * _positions(node) for node in nodes)
            rows.append(DFCRow(kernel, fit, macs, *test.errors(fitted), *test.drift(fitted)))
    full = sum(length * _positions(node) for node, length in zip(nodes, lengths, strict=True))
    return DFCTable(tuple(rows), len(test.groups), shared, full)


def _taps(graph: GraphModule, nodes: list[Node]) -> tuple[int, ...]:
    modules = (module_of(graph, node) for node in nodes)
    return tuple(sorted({module.kernel_size for module in modules if isinstance(module, SharedFullyConnected)}))


def _make_dense(graph: GraphModule, nodes: list[Node]) -> list[int]:
    """Put each shared map's matrix in its place; return the length of each map's axis."""
    lengths = []
    for node in nodes:
        module, size = module_of(graph, node), shape_of(node)
        assert isinstance(module, FullyConnected)
        assert size is not None
        lengths.append(size[-1] if module.axis == "horizontal" else size[-2])
        if isinstance(module, SharedFullyConnected):
            dense = DenseFullyConnected(size[1], lengths[-1], module.axis)
            dense.weight = nn.Parameter(module.matrix(lengths[-1]).detach())
            graph.set_submodule(str(node.target), dense)
    return lengths


def _positions(node: Node) -> int:
    """Return the number of values that a map makes for one image."""
    size = shape_of(node)
    assert size is not None
    return size[1] * size[2] * size[3]


class _Attentions:
    """The model's outputs, and those of each attention's maps, before they become convolutions."""

    def __init__(self, graph: GraphModule, nodes: list[Node], inputs: torch.Tensor) -> None:
        self.batches = torch.split(inputs, at_once({INPUT: inputs}))
        self.groups: dict[str, tuple[str, str]] = {}
        """Path of each attention; what flows into its first map, and its last map."""
        for node in nodes:
            path = str(node.target).rpartition(".")[0]
            first = self.groups[path][0] if path in self.groups else input_node(node).name
            self.groups[path] = (first, node.name)
        wanted = {name for pair in self.groups.values() for name in pair}
        runs = list(self._runs(graph, wanted, [{} for _ in self.batches]))
        self.outputs = [outputs for outputs, _ in runs]
        self.seen = [seen for _, seen in runs]

    def errors(self, graph: GraphModule) -> tuple[float, float, str]:
        """Return the mean and the largest error of the attentions, each fed as in the reference, and the worst one."""
        lasts = {last for _, last in self.groups.values()}
        given = [{first: seen[first] for first, _ in self.groups.values()} for seen in self.seen]
        runs = [seen for _, seen in self._runs(graph, lasts, given)]
        errors = {}
        for path, (_first, last) in self.groups.items():
            pairs = [(before[last], after[last]) for before, after in zip(self.seen, runs, strict=True)]
            change = sum(float(((new - old) ** 2).sum()) for old, new in pairs)
            errors[path] = (change / sum(float((old**2).sum()) for old, _ in pairs)) ** 0.5
        worst = max(errors, key=lambda path: errors[path])
        return sum(errors.values()) / len(errors), errors[worst], worst

    def drift(self, graph: GraphModule) -> tuple[float, float]:
        """Return relative L2 change and top-1 agreement of the model's outputs."""
        runs = [outputs for outputs, _ in self._runs(graph, set(), [{} for _ in self.batches])]
        drift = drift_between(_joined(self.outputs), _joined(runs))
        return drift.relative_l2, drift.top1_agreement

    def _runs(self, graph: GraphModule, wanted: set[str], given: list[Tensors]) -> Iterator[tuple[Tensors, Tensors]]:
        for batch, values in zip(self.batches, given, strict=True):
            replay = _Replay(graph, wanted, values)
            with torch.no_grad():
                yield named_outputs(replay.run(batch)), replay.seen


def _joined(batches: list[Tensors]) -> Tensors:
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


class _Replay(Interpreter):
    """Runs a graph with the results of some nodes given, and keeps those of others."""

    def __init__(self, graph: GraphModule, wanted: set[str], given: Tensors) -> None:
        super().__init__(graph)
        self.wanted = wanted
        self.given = given
        self.seen: Tensors = {}

    def run_node(self, n: Node) -> object:
        result = self.given[n.name] if n.name in self.given else super().run_node(n)
        if n.name in self.wanted:
            assert isinstance(result, torch.Tensor)
            self.seen[n.name] = result
        return result


def lines(content: dict[str, Any]) -> Group:
    """Return the table as text, of its JSON."""
    shared = content["shared_kernel_sizes"]
    kind = f"shared maps of {' and '.join(map(str, shared))} taps" if shared else "dense maps"
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("K", "fit", "MACs", "error", "worst", "drift", "same %"):
        table.add_column(column, justify="left" if column == "fit" else "right", no_wrap=True)
    for row in content["rows"]:
        figures = (_g(row["error"]), _g(row["worst_error"]), _g(row["drift"]), f"{row['top1_agreement']:.1%}")
        table.add_row(str(row["kernel_size"]), row["fit"], f"{row['macs'] / 1e6:.2f}M", *figures)
    told = Text(
        f"{content['attentions']} attentions with {kind}; fully connected along each axis they take "
        f"{content['fully_connected_macs'] / 1e6:.2f}M MACs.\n"
        "Error: relative L2 change of an attention's two maps, mean and worst of all; drift: of the model's outputs.\n"
        "Fitted on calibration inputs, measured on others."
    )
    return Group(table, told)


def draw(content: dict[str, Any], path: Path) -> None:
    """Draw the table, of its JSON: errors and drifts for each way to fit, and the multiply-accumulates."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    errors, macs = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    rows = content["rows"]
    kernels = list(dict.fromkeys(row["kernel_size"] for row in rows))
    for index, fit in enumerate(dict.fromkeys(row["fit"] for row in rows)):
        own = [row for row in rows if row["fit"] == fit]
        for name, style, label in (("error", "o-", "the maps' error"), ("drift", "s--", "the outputs' drift")):
            values = [float("nan") if row[name] is None else row[name] for row in own]
            errors.plot(kernels, values, style, color=f"C{index}", label=f"{label}, {fit}")
    errors.set(ylim=(0, None), ylabel="relative L2", title=f"DFC attention of {content['model']} as convolutions")
    errors.legend(fontsize="small")
    by_kernel = {row["kernel_size"]: row["macs"] / 1e6 for row in rows}
    macs.bar(kernels, [by_kernel[kernel] for kernel in kernels], width=1.0, color="#8c8c8c")
    macs.axhline(content["fully_connected_macs"] / 1e6, color="#c44e52", linestyle="--", label="fully connected")
    macs.set(xlabel="taps K", ylabel="MACs of all maps, M", xticks=kernels)
    macs.legend(fontsize="small")
    save(figure, path)


def measure(name: str, weights: Path | None, progress: Callable[[str], None]) -> dict[str, Any]:
    """Return the table of a model with its own recipe's inputs, as JSON data."""
    recipe = recipe_of_model(name).recipe
    calibration = torch.from_numpy(calibration_inputs(recipe)[INPUT])
    evaluation = torch.from_numpy(evaluation_inputs(recipe).inputs[INPUT])
    table = dfc_table(mobilekit.load_model(name, weights), recipe.input.shape, calibration, evaluation, progress)
    return {"model": name, **table.to_json()}


def main() -> int:
    """Print the table, and draw it where --plot asks for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--plot", type=Path, help=".png or .svg")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.plot:
        check_place(given.plot)
    torch.set_num_threads(1)
    content = measure(given.model, given.weights, lambda step: print(step, file=sys.stderr))
    if given.plot:
        draw(content, given.plot)
    if given.json:
        print(json.dumps(content, indent=2))
    else:
        Console().print(lines(content))
    return 0


def _g(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}" if abs(value) < 1e-3 else f"{value:.4f}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UsageError as error:
        sys.exit(str(error))
