"""A fault cut out of its model: a folder that shows it without mobilekit, ready for a bug report."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.analysis.cut_onnx import cut_onnx
from mobilekit.artifacts.analysis.cut_tflite import cut_tflite
from mobilekit.artifacts.litert import LiteRTRuntime, decode, encode
from mobilekit.artifacts.onnx import GRAPH_OPTIMIZATION, open_session
from mobilekit.artifacts.runtime import is_label
from mobilekit.artifacts.tflite import unpack
from mobilekit.errors import ToolError, first_line
from mobilekit.parity.bisect.bisect import Fault
from mobilekit.parity.bisect.layouts import Floats, distance
from mobilekit.parity.bisect.observed import Observed
from mobilekit.parity.bisect.regions import Islands
from mobilekit.store.files import save_arrays

_HEAD = '''"""{title}"""

import sys
from pathlib import Path

import numpy as np
{imports}

here = Path(__file__).parent
inputs, want = np.load(here / "inputs.npz"), np.load(here / "expected.npy")
{run}
if got.shape != want.shape:
    sys.exit(f"wrong: the output has the shape {{got.shape}}, and {{want.shape}} is right")
{measure}
sys.exit("wrong" if not error <= {limit:.3g} else 0)
'''
_MEASURE_QUANTITIES = """
error = np.linalg.norm(got - want) / np.linalg.norm(want)
print(f"largest difference {{np.abs(got - want).max():.3g}}, relative L2 {{error:.3g}}; rounding explains {limit:.3g}")
"""
_MEASURE_LABELS = """
error = (got != want).mean()
print(f"{{error:.1%}} of the labels differ; rounding explains {limit:.1%}")
"""
_TFLITE_IMPORT = "from ai_edge_litert.interpreter import Interpreter{resolver}"
_TFLITE_RUN = """model = Interpreter(str(here / "{file}"){options})
model.allocate_tensors()
for number, detail in enumerate(model.get_input_details()):
    model.set_tensor(detail["index"], inputs[f"input_{{number}}"])
model.invoke()
output = model.get_output_details()[0]
scale, zero_point = output["quantization"]
got = model.get_tensor(output["index"]).astype(np.float32)
got = (got - zero_point) * scale if scale else got"""
_ONNX_RUN = """options = onnxruntime.SessionOptions()  # as the fault was found:
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.{optimization}
model = onnxruntime.InferenceSession(here / "{file}", options, providers=["CPUExecutionProvider"])
names = [one.name for one in model.get_inputs()]
got = model.run(None, {{name: inputs[f"input_{{number}}"] for number, name in enumerate(names)}})[0]"""


@dataclass(frozen=True)
class Reproduction:
    """A fault, cut out and run by itself."""

    fault: Fault
    file: str
    model: bytes
    """The ops of the fault as an artifact of their own."""
    inputs: tuple[NDArray[Any], ...]
    """What it takes: the reference's values at the borders, in its layout and number format."""
    expected: Floats
    """What the reference makes of these, in the artifact's layout."""
    got: Floats
    error: float
    """Relative L2 error of the cut artifact by itself."""
    limit: float
    without_delegate: bool = False
    """Whether the fault shows in LiteRT's own kernels alone, not with its XNNPACK delegate."""

    @property
    def is_local(self) -> bool:
        """Whether the cut artifact is wrong by itself, on right inputs."""
        return not self.error <= self.limit


def reproduce(islands: Islands, fault: Fault, path: Path) -> Reproduction:
    """Cut a fault out of a candidate and run it on the reference's values.

    Args:
        islands: The candidate beside the reference.
        fault: What `bisect` found.
        path: The candidate's file.

    Raises:
        ToolError: What was cut out cannot be run.
    """
    return _reproduce_onnx(islands, fault, path) if path.suffix == ".onnx" else _reproduce_tflite(islands, fault, path)


def _reproduce_tflite(islands: Islands, fault: Fault, path: Path) -> Reproduction:
    seen, borders = islands.candidate, list(fault.island.borders)
    numbers = [seen.ops[place].index for place in fault.island.ops]
    content = cut_tflite(unpack(path.read_bytes()), numbers, [int(one) for one in borders], [int(fault.tensor)])
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "candidate.tflite"
        file.write_bytes(content)
        runs = []
        for bare in (False, True):
            runtime = LiteRTRuntime(file, keep_tensors=bare)
            arrays = [
                encode(_right(islands, fault, tensor), info)
                for tensor, info in zip(borders, runtime.inputs, strict=True)
            ]
            taken = [decode(array, info) for array, info in zip(arrays, runtime.inputs, strict=True)]
            expected, limit = _expected(islands, fault, dict(zip(borders, taken, strict=True)))
            got = _run_tflite(runtime, arrays)
            error = _error(expected, got)
            runs.append(
                Reproduction(
                    fault, file.name, content, tuple(arrays), expected, got, error, limit, without_delegate=bare
                )
            )
    return runs[0] if runs[0].is_local else runs[1]


def _run_tflite(runtime: LiteRTRuntime, arrays: list[NDArray[Any]]) -> Floats:
    try:
        for info, array in zip(runtime.inputs, arrays, strict=True):
            runtime.interpreter.set_tensor(info.index, array)
        runtime.interpreter.invoke()
    except (ValueError, RuntimeError) as error:
        raise ToolError(f"LiteRT cannot run the part that was cut out: {first_line(error)}.") from error
    return runtime.value_of(runtime.outputs[0])


def _reproduce_onnx(islands: Islands, fault: Fault, path: Path) -> Reproduction:
    import onnx

    seen, borders = islands.candidate, list(fault.island.borders)
    content = cut_onnx(onnx.load(path), borders, [fault.tensor], _shapes(seen))
    arrays = {tensor: _right(islands, fault, tensor) for tensor in borders}
    expected, limit = _expected(islands, fault, arrays)
    try:
        got = np.asarray(open_session(content).run(None, arrays)[0])
    except Exception as error:  # ONNX Runtime raises classes of its own for each status
        raise ToolError(f"ONNX Runtime cannot run the part that was cut out: {first_line(error)}.") from error
    inputs = tuple(arrays.values())
    return Reproduction(fault, "candidate.onnx", content, inputs, expected, got, _error(expected, got), limit)


def _shapes(seen: Observed) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in seen.values.items()}


def _right(islands: Islands, fault: Fault, tensor: str) -> Floats:
    """Return the reference's value at a border, in the candidate's layout."""
    match = fault.island.borders[tensor]
    array = islands.reference.array(islands.reference.cached[match.step])
    assert array is not None
    return match.layout.to_candidate(array)


def _expected(islands: Islands, fault: Fault, borders: dict[str, Floats]) -> tuple[Floats, float]:
    """Return what the reference makes of values at the borders, in the candidate's layout, and how far off is rounding.

    Where no step has as many values, what the first step after the borders makes.
    """
    given: dict[str, Any] = {}
    for tensor, array in borders.items():
        match = fault.island.borders[tensor]
        given.setdefault(match.step, islands.reference.value(match.step, match.layout.to_reference(array)))
    replay = islands.yardstick.replay(given, len(fault.island.ops))
    if fault.match is None:
        return replay.exact(next(step for step in fault.steps if step in islands.shapes)), fault.limit
    limit = replay.limit(fault.match.step, islands.candidate.steps.get(fault.tensor, 0.0))
    return fault.match.layout.to_candidate(replay.exact(fault.match.step)), limit


def _error(expected: Floats, got: Floats) -> float:
    return distance(expected, got) if expected.shape == got.shape else math.inf


def write_reproduction(folder: Path, made: Reproduction, title: str, text: str) -> None:
    """Write the files of a reproduction into a folder that exists.

    Args:
        folder: An empty folder.
        made: The reproduction.
        title: One line for the head of the script.
        text: A description, Markdown.
    """
    (folder / made.file).write_bytes(made.model)
    save_arrays(folder / "inputs.npz", {f"input_{number}": array for number, array in enumerate(made.inputs)})
    np.save(folder / "expected.npy", made.expected)
    (folder / "reproduce.py").write_text(_script(made, title))
    (folder / "README.md").write_text(text)


def _script(made: Reproduction, title: str) -> str:
    if made.file.endswith(".onnx"):
        imports, run = "import onnxruntime", _ONNX_RUN.format(file=made.file, optimization=GRAPH_OPTIMIZATION)
    else:
        bare = made.without_delegate
        imports = _TFLITE_IMPORT.format(resolver=", OpResolverType" if bare else "")
        kernels = ", experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES"
        run = _TFLITE_RUN.format(file=made.file, options=kernels if bare else "")
    measure = (_MEASURE_LABELS if is_label(made.expected) else _MEASURE_QUANTITIES).strip().format(limit=made.limit)
    return _HEAD.format(title=title, imports=imports, run=run, limit=made.limit, measure=measure)
