"""Writes .pte files: the exported program goes to the Python that has ExecuTorch, and the file comes from there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from mobilekit.artifacts.executorch.environment import start
from mobilekit.artifacts.tflite import TAP
from mobilekit.errors import ToolError, first_line
from mobilekit.rewrites.fx.capture import quiet
from mobilekit.store.files import save_arrays
from mobilekit.store.worker import WorkerError

_WORKER = "mobilekit.convert.executorch.lower_worker"
_PROGRAM, _ARRAYS = "program.pt2", "calibration.npz"
_LONGEST = 300
"""Letters of ExecuTorch's words that are quoted."""
_LINES = 5
"""Of a list in them that names no operators."""
_OPERATOR = re.compile(r"Operator: (?:<\w+: )?([\w.:]+)")
"""A line of its verifier's, before the schema: `Operator: <EdgeOpOverload: aten.add.Tensor>: schema = ...`."""
_SECONDS = 1800


@dataclass(frozen=True)
class Quantization:
    """What a file of int8 is quantized by."""

    arrays: Sequence[NDArray[Any]]
    """Inputs (N, ...), in the order of the program's."""
    float_steps: Sequence[str]
    """Names of the steps that stay in float."""
    correct_bias: bool = False
    """Whether biases make up for what rounding the weights moves."""
    choose_ranges: bool = False
    """Whether values may have other ranges than those of ExecuTorch's histograms."""


@dataclass(frozen=True)
class Written:
    """What there is to say of a file."""

    outside: list[dict[str, str]]
    """The steps that no delegate runs."""
    ranges: dict[str, Any]
    """What tells for its ranges, of a file of int8."""


def lower(
    program: ExportedProgram,
    file: Path,
    scratch: Path,
    facts: Mapping[str, Any],
    quantization: Quantization | None = None,
) -> Written:
    """Write a program as a .pte file.

    Args:
        program: It.
        file: Where to write.
        scratch: A folder for the program's own file.
        facts: What the file says of itself, as JSON data.
        quantization: For a file of int8.

    Raises:
        ToolError: ExecuTorch is not there, or does not lower the program.
    """
    handed, arrays = scratch / _PROGRAM, scratch / _ARRAYS
    with quiet():
        torch.export.save(program, handed)
    request = {"program": str(handed.absolute()), "file": str(file.absolute()), "facts": facts}
    if quantization:
        names = facts.get("outputs", [""] * len(program.graph_signature.user_outputs))
        own = [place for place, name in enumerate(names) if not name.startswith(TAP)]
        save_arrays(arrays, {str(place): array for place, array in enumerate(quantization.arrays)})
        request["calibration"] = {
            "arrays": str(arrays.absolute()),
            "float_steps": [*quantization.float_steps],
            "correct_bias": quantization.correct_bias,
            "choose_ranges": quantization.choose_ranges,
            "outputs": own,
        }
    try:
        with start(_WORKER) as worker:
            reply = worker.ask(request, _SECONDS)
    except WorkerError as error:
        raise _explained(error) from error
    finally:
        for each in (handed, arrays):
            each.unlink(missing_ok=True)
    return Written(reply["outside"], reply["ranges"])


def _explained(error: WorkerError) -> ToolError:
    """Return what a failure is to the user: ExecuTorch's reason, in one line and a second with what to do."""
    tool = error.tool or "ExecuTorch's process"
    if error.is_late:
        said = f"it came to no end in {_SECONDS} s"
    else:
        said = _reason(error.words) if error.code is None else f"it {error.ending}: {_reason(error.words)}"
    told = ToolError(
        f"{tool} does not lower the model: {said}.",
        "The other files are whole; `mobilekit --debug export MODEL --strict` shows all of ExecuTorch's output.",
    )
    told.add_note(f"Output of ExecuTorch:\n{error.log}")
    return told


def _reason(words: str) -> str:
    """Return the first line of what ExecuTorch said, and of one that ends in a colon what is listed below: its ops."""
    said = first_line(words)
    if said.endswith(":"):
        below = [line.strip() for line in words.strip().splitlines()[1:] if line.strip()]
        ops = [found[1] for line in below if (found := _OPERATOR.match(line))]
        said = f"{said} {', '.join(dict.fromkeys(ops or below[:_LINES]))}"
    return shorten(said, _LONGEST, placeholder=" ...").rstrip(".: ")
