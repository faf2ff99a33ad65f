"""Whether ranges chosen tensor by tensor are better for the whole network, tried on pictures that are kept back.

Each narrower range leaves less noise in most pictures and cuts some of a few. What a network makes of it no tensor
alone tells: so an int8 file of each kind is made and run, on pictures that none was fitted to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.tflite import TFLiteGraph
from mobilekit.convert.int8.calibration import Observed
from mobilekit.convert.int8.ranges import FEWEST, WHOLE, WITH_ROOM, K, Range, choose_rules
from mobilekit.convert.outer_ends import with_outer_ends

CHOSEN, CAREFUL = "chosen", "careful"
"""Each tensor's best range, and its best of those that leave no picture with more noise than the whole one."""
_TINY = 1e-30

Ranges = Mapping[int, Range]


@dataclass(frozen=True)
class Error:
    """The relative L2 error of an int8 file's outputs, one figure for each picture."""

    mean: float
    worst: float


def ranges_of(
    observed: Observed[int], graph: TFLiteGraph, quantized: Callable[[Ranges], bytes]
) -> tuple[dict[int, Range], dict[str, Any]]:
    """Return the range of each tensor of a TFLite file, and what tells for them; see `best_ranges`.

    Args:
        observed: What the float32 file did.
        graph: Of that file.
        quantized: Makes an int8 file with such ranges.
    """
    return best_ranges(
        observed,
        partial(choose_rules, graph, observed.seen),
        lambda ranges: error_of(observed, _run_by_litert(observed, quantized(ranges))),
    )


def best_ranges(
    observed: Observed[K], choose: Callable[[bool], Mapping[K, str]], error: Callable[[Mapping[K, Range]], Error]
) -> tuple[dict[K, Range], dict[str, Any]]:
    """Return the range of each tensor, and what tells for them.

    Of each kind whose largest error on the pictures kept back is no larger than that of whole ranges, the one with the
    smallest mean error is taken. Outputs have room in each.

    Args:
        observed: What the float32 file did.
        choose: Returns the rule of each tensor: its best, or its best that spares all pictures.
        error: That of a file with such ranges on the pictures kept back.

    Returns:
        The ranges; `ranges` (`chosen`, `careful` or `min-max`) and, where there are pictures enough, `pictures` (how
        many are kept back) and `relative_l2` (`mean` and `worst` of each kind), else `fewest` (how many runs it takes).
    """
    if observed.runs < FEWEST:
        return observed.whole_ranges(), {"ranges": WHOLE, "fewest": FEWEST}
    if not observed.outputs[0]:  # labels alone, which no error is measured in
        return observed.whole_ranges(), {"ranges": WHOLE}
    kinds = {CHOSEN: choose(False), CAREFUL: choose(True)}
    whole = {tensor: rule if rule == WITH_ROOM else WHOLE for tensor, rule in kinds[CHOSEN].items()}
    rules: dict[str, Mapping[K, str]] = {WHOLE: whole, **kinds}
    errors = {name: error(_fitted(observed, each, False)) for name, each in rules.items()}
    fair = [name for name in rules if errors[name].worst <= errors[WHOLE].worst]
    best = min(fair, key=lambda name: errors[name].mean)
    told = {name: asdict(error) for name, error in errors.items()}
    return _fitted(observed, rules[best], True), {
        "ranges": best,
        "pictures": sum(map(_size, observed.inputs)),
        "relative_l2": told,
    }


def _fitted(observed: Observed[K], rules: Mapping[K, str], with_kept_back: bool) -> dict[K, Range]:
    return {tensor: one.fitted(rules[tensor], with_kept_back) for tensor, one in observed.seen.items()}


def _size(arrays: Mapping[K, NDArray[np.float32]]) -> int:
    return len(next(iter(arrays.values())))


def error_of(
    observed: Observed[K], run: Callable[[Mapping[K, NDArray[np.float32]]], list[NDArray[np.float32]]]
) -> Error:
    """Return the error of a file on the pictures kept back.

    Args:
        observed: What the float32 file did.
        run: Gives the file's outputs of one run's inputs, in the order of the float32 file's.
    """
    errors: list[NDArray[np.float64]] = []
    for inputs, outputs in zip(observed.inputs, observed.outputs, strict=True):
        pairs = zip(run(inputs), outputs.values(), strict=True)
        errors.append(np.mean([_relative_l2(*pair) for pair in pairs], axis=0))
    all_of_them = np.concatenate(errors)
    return Error(float(all_of_them.mean()), float(all_of_them.max()))


def _run_by_litert(
    observed: Observed[int], content: bytes
) -> Callable[[Mapping[int, NDArray[np.float32]]], list[NDArray[np.float32]]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=with_outer_ends(content, "float32"), num_threads=1)
    interpreter.allocate_tensors()
    taken = [each["index"] for each in interpreter.get_input_details()]
    details = interpreter.get_output_details()
    given = [details[place]["index"] for place in observed.places]

    def run(inputs: Mapping[int, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        for index, value in zip(taken, inputs.values(), strict=True):
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in given]

    return run


def _relative_l2(made: NDArray[np.float32], expected: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return ||made - expected|| / ||expected||, one for each picture."""
    exact = expected.reshape(len(expected), -1).astype(np.float64)
    return np.asarray(
        np.linalg.norm(made.reshape(exact.shape) - exact, axis=1) / (np.linalg.norm(exact, axis=1) + _TINY)
    )
