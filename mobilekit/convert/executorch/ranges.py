"""Ranges of a program's values in int8: ExecuTorch's, or those of `convert.int8.ranges` where they are better.

ExecuTorch takes the range of each value from a histogram of all that it held: the one that leaves least noise in all
of it together, in which the pictures with the largest values count most. It may end below the largest values, which of
an output are the model's answers: inputs and outputs have the ranges of `convert.int8.ranges` in any case. The Python
that has ExecuTorch runs this.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import MinMaxObserver, ObserverBase
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

from mobilekit.convert.int8.calibration import Observed
from mobilekit.convert.int8.ranges import FEWEST, WHOLE, WITH_ROOM, Range, Seen, is_kept_back
from mobilekit.convert.int8.trial import CHOSEN, Error, error_of

Batch = Sequence[torch.Tensor]
_HISTOGRAM = "histogram"
_CASTS = (torch.ops.aten.to.dtype, torch.ops.aten._to_copy.default)
_BOUNDED = (
    *("_softmax", "softmax", "sigmoid", "tanh", "hardsigmoid"),
    *("relu", "relu_", "relu6", "hardtanh", "hardtanh_", "clamp", "clamp_", "maximum", "minimum"),
)
"""Steps that say where their values end."""


def calibrate(
    prepared: GraphModule, batches: Sequence[Batch], choose: bool, outputs: Sequence[int] | None = None
) -> tuple[GraphModule, dict[str, Any]]:
    """Run a program with observers on calibration inputs, and return it with the ranges that its values are to have.

    Inputs and outputs are never cut. Of what is inside, the chosen ones are taken where they make the mean error of
    the outputs smaller and the largest no larger, on inputs that they were not fitted to. ExecuTorch's have seen these,
    which speaks for them.

    Args:
        prepared: As `prepare_pt2e` returns it.
        batches: What it takes, each a tensor for each input.
        choose: Whether ExecuTorch's ranges of what is inside may be replaced.
        outputs: Places of those that are the model's own, all without: a copy that gives values inside as well gets the
            ranges of the file that it is a copy of.

    Returns:
        The program, and what tells for its ranges, as `int8.trial` has it: `histogram` are ExecuTorch's, inside.
    """
    watched = _Watched(prepared, outputs)
    held: Observed[int] = Observed(watched.seen, {}, len(batches))
    for number, batch in enumerate(batches):
        made = prepared(*batch)
        watched.end_run()
        if is_kept_back(number):
            held.inputs.append({place: value.numpy() for place, value in enumerate(batch)})
            held.outputs.append({place: made[place].numpy() for place in watched.outputs})
    watched.stop()
    best = {key: seen.best() for key, seen in watched.seen.items() if key not in watched.ends} if choose else {}

    def ranged(inside: Mapping[int, str], with_kept_back: bool = True) -> GraphModule:
        rules = {**inside, **watched.ends}
        return watched.with_ranges({key: watched.seen[key].fitted(rule, with_kept_back) for key, rule in rules.items()})

    if choose and len(batches) < FEWEST:
        return ranged({}), {"ranges": _HISTOGRAM, "fewest": FEWEST}
    if not choose or not held.outputs:
        return ranged({}), {"ranges": _HISTOGRAM}
    theirs, ours = (_error(held, ranged(inside, False), watched.outputs) for inside in ({}, best))
    is_better = ours.mean < theirs.mean and ours.worst <= theirs.worst
    told = {
        "ranges": CHOSEN if is_better else _HISTOGRAM,
        "pictures": sum(len(inputs[0]) for inputs in held.inputs),
        "relative_l2": {_HISTOGRAM: asdict(theirs), CHOSEN: asdict(ours)},
    }
    return ranged(best if is_better else {}), told


class _Watched:
    """The observers of values in a prepared program, and what passes through them; by a number of their own."""

    def __init__(self, prepared: GraphModule, outputs: Sequence[int] | None) -> None:
        self.prepared = prepared
        given = [*prepared.graph.output_node().args[0]]  # type: ignore[misc]
        self.outputs = range(len(given)) if outputs is None else outputs
        own = {given[place] for place in self.outputs}
        modules = dict(prepared.named_modules(remove_duplicate=False))
        self._nodes = {
            node: modules[str(node.target)]
            for node in prepared.graph.nodes
            if node.op == "call_module" and isinstance(modules[str(node.target)], ObserverBase)
            if not _is_constant(node.args[0])
        }
        numbers = {observer: number for number, observer in enumerate(dict.fromkeys(self._nodes.values()))}
        self.numbers = {str(node.target): numbers[observer] for node, observer in self._nodes.items()}
        """Of observers, by their names; those of one number are the same."""
        self.seen = {number: Seen() for number in numbers.values()}
        self.ends: Mapping[int, str] = {
            numbers[each]: WHOLE if node not in own or _is_bounded(node) else WITH_ROOM
            for node, each in self._nodes.items()
            if node in own or _sees_an_input(node)
        }
        """The rules for what the program takes and gives."""
        self._passed: dict[int, list[NDArray[np.float32]]] = {}
        self._hooks = [
            observer.register_forward_pre_hook(lambda _observer, given, number=number: self._note(number, given[0]))
            for observer, number in numbers.items()
        ]

    def _note(self, number: int, value: torch.Tensor) -> None:
        self._passed.setdefault(number, []).append(value.detach().numpy().reshape(-1))

    def end_run(self) -> None:
        """Take together what passed an observer in one run."""
        for number, values in self._passed.items():
            self.seen[number].add(np.concatenate(values))
        self._passed.clear()

    def stop(self) -> None:
        """Watch no longer."""
        for hook in self._hooks:
            hook.remove()

    def with_ranges(self, ranges: Mapping[int, Range]) -> GraphModule:
        """Return a copy of the program in which the observers of these ranges have seen their ends, and no more."""
        made = copy.deepcopy(self.prepared)
        fixed = {}
        for name, number in ((name, number) for name, number in self.numbers.items() if number in ranges):
            if number not in fixed:
                old = made.get_submodule(name)
                keys = ("dtype", "qscheme", "quant_min", "quant_max", "eps")
                fixed[number] = MinMaxObserver(**{key: getattr(old, key) for key in keys})
                fixed[number](torch.tensor(ranges[number]))
            made.set_submodule(name, fixed[number])
        return made


def _error(held: Observed[int], prepared: GraphModule, outputs: Sequence[int]) -> Error:
    """Return the error of a program in int8 on the inputs kept back."""
    quantized = convert_pt2e(copy.deepcopy(prepared))

    def run(inputs: Mapping[int, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        made = quantized(*map(torch.from_numpy, inputs.values()))
        return [made[place].numpy() for place in outputs]

    return error_of(held, run)


def _is_constant(node: object) -> bool:
    return isinstance(node, Node) and node.op == "get_attr"


def _is_bounded(node: Node) -> bool:
    """Return whether the step that an observer looks at says where its values end."""
    target = node.all_input_nodes[0].target
    return isinstance(target, torch._ops.OpOverload) and target._schema.name.removeprefix("aten::") in _BOUNDED


def _sees_an_input(node: Node) -> bool:
    source = node.all_input_nodes[0]
    if source.target in _CASTS:
        source = source.all_input_nodes[0]
    return source.op == "placeholder"
