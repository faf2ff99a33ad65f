"""Which module of the PyTorch model each tensor of a TFLite file comes from, told by the values themselves.

Converters fuse, reorder and rename; no name survives them. Both models are run on one random input, and a tensor of the
TFLite file belongs to the step of the PyTorch graph that gives the same values, whatever the layout. Names of tensors
are the same in all precisions made from one graph, so that a map of the float32 file serves them all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx import GraphModule, Node

from mobilekit.errors import ToolError
from mobilekit.recipes.modules import is_inside
from mobilekit.rewrites.fx.graph import module_of, path_of
from mobilekit.rewrites.fx.record import distance as distance_of
from mobilekit.rewrites.fx.record import record_values

Floats = NDArray[np.float32]
_Op = tuple[list[str], list[str]]  # the names of what it takes, and of what it makes

# Two float32 computations of one tensor differ by their order of summing, some 1e-6 of its norm; unrelated tensors
# differ by about 1. Anything well between the two tells them apart.
_SAME = 1e-3
_HEAVY = (torch.nn.Conv2d, torch.nn.Linear, torch.nn.ConvTranspose2d)


@dataclass(frozen=True)
class Alignment:
    """Where the tensors of a TFLite file come from."""

    modules: dict[str, str]
    """Path of the PyTorch module by the tensor's name."""
    classes: dict[str, str]
    """Class of each module that has others in it, by its path."""

    def tensors_inside(self, modules: Sequence[str]) -> list[str]:
        """Return the tensors that come from modules of a recipe's `int8.float_modules`.

        Raises:
            ToolError: No tensor of such a module is in the file.
        """
        for module in modules:
            if not any(is_inside(path, [module]) for path in self.modules.values()):
                raise ToolError(
                    f"{module} cannot stay in float: nothing of it is to be found in the float32 file.",
                    "Its work is done by an op of another module; name the module around it.",
                )
        return [name for name, path in self.modules.items() if is_inside(path, modules)]

    def to_json(self) -> dict[str, Any]:
        """Return the alignment as JSON data."""
        return asdict(self)


def align(graph: GraphModule, tflite: Path, inputs: Mapping[str, Floats]) -> Alignment:
    """Return the module path of each tensor that an op of a float32 TFLite file makes.

    An op that does the work of several steps (a convolution with its activation) belongs to the heaviest of them. An
    op with no step of its own (a padding, a transposition) belongs to where its result goes.

    Args:
        graph: The rewritten model that the file was made from.
        tflite: The float32 file.
        inputs: As many inputs of each name as the file takes at once, float32 (N, ...), images NCHW; best random, so
            that no two tensors are equal.
    """
    ops, tensors = _run_tflite(tflite, inputs)
    steps = record_values(graph, {name: torch.from_numpy(array) for name, array in inputs.items()})
    by_size: dict[int, list[tuple[Node, Floats]]] = defaultdict(list)
    for step, value in steps.items():
        by_size[value.numel()].append((step, value.numpy()))
    matched: dict[str, Node] = {}
    borders: set[Node] = set()
    for _inputs, outputs in ops:
        for name in outputs:
            same = _same(tensors[name], by_size[tensors[name].size], set(matched.values()))
            borders.update(same)
            if same:
                matched[name] = same[0]
    modules = {name: _main_step(graph, step, borders) for name, step in matched.items()}
    _inherit(modules, ops)
    return Alignment(modules, _classes(graph))


def _classes(graph: GraphModule) -> dict[str, str]:
    """Return the classes of the modules in whose `forward` the graph's steps stand, as they were before tracing."""
    stacks = [node.meta.get("nn_module_stack", {}) for node in graph.graph.nodes]
    return {str(path): str(kind).rpartition(".")[2] for stack in stacks for path, kind in stack.values() if path}


def _run_tflite(path: Path, inputs: Mapping[str, Floats]) -> tuple[list[_Op], dict[str, Floats]]:
    """Return each op as the names of what it takes and makes, and the value of each tensor."""
    from mobilekit.artifacts.litert import LiteRTRuntime

    runtime = LiteRTRuntime(path, keep_tensors=True)
    runtime.run(dict(inputs))
    interpreter = runtime.interpreter
    names = {detail["index"]: detail["name"] for detail in interpreter.get_tensor_details()}
    ops = []
    values: dict[str, Floats] = {}
    for op in interpreter._get_ops_details():
        made = [int(index) for index in op["outputs"] if int(index) in names]
        ops.append(([names[int(index)] for index in op["inputs"] if int(index) in names], [names[i] for i in made]))
        for index in made:
            values[names[index]] = interpreter.get_tensor(index).astype(np.float32)
    return ops, values


def _same(value: Floats, candidates: Sequence[tuple[Node, Floats]], taken: Set[Node]) -> list[Node]:
    """Return the steps with the same values in either layout, the closest first.

    Of several that are as close (an activation of what is positive already, a reshape) the first that is not taken
    comes first, or the last where all are.
    """
    found = [
        (distance, step in taken, -place if step in taken else place, step)
        for place, (step, other) in enumerate(candidates)
        if (distance := min(distance_of(value, form, 10 * _SAME) for form in _forms(other, value.shape))) < _SAME
    ]
    return [step for *_, step in sorted(found, key=lambda each: each[:3])]


def _forms(array: Floats, shape: tuple[int, ...]) -> list[Floats]:
    """Return an array in the layouts in which it could stand in a tensor of `shape`."""
    forms = [array.reshape(shape)]
    if array.ndim == 4:
        forms.append(array.transpose(0, 2, 3, 1).reshape(shape))
    if array.ndim == 3:
        forms.append(array.transpose(0, 2, 1).reshape(shape))
    return forms


def _main_step(graph: GraphModule, step: Node, borders: Set[Node]) -> str:
    """Return the path of the heaviest step between this one and those whose values tensors hold."""
    waiting, seen = [step], {step}
    while waiting:
        node = waiting.pop(0)
        if isinstance(module_of(graph, node), _HEAVY):
            return path_of(node)
        for source in node.all_input_nodes:
            if source not in borders and source not in seen:
                seen.add(source)
                waiting.append(source)
    return path_of(step)


def _inherit(modules: dict[str, str], ops: Sequence[_Op]) -> None:
    """Give an op without a module of its own the one that uses its result, or else the one that made its input."""
    users: dict[str, str] = {}
    for taken, made in reversed(ops):
        for name in made:
            if name not in modules and name in users:
                modules[name] = users[name]
        owner = next((modules[name] for name in made if name in modules), None)
        if owner is not None:
            users.update(dict.fromkeys(taken, owner))
    for taken, made in ops:
        source = next((modules[name] for name in taken if name in modules), None)
        for name in made:
            if name not in modules and source is not None:
                modules[name] = source
