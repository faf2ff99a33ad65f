"""A rewritten model as ONNX, as torch writes it and as onnxsim simplifies it."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import torch
from torch.fx import GraphModule

from mobilekit.convert.process import run_task
from mobilekit.errors import ToolError, UsageError, first_line
from mobilekit.models.inputs import Shapes, arguments, input_names, zeros
from mobilekit.models.outputs import Flat, named_outputs
from mobilekit.store.bundle import INPUT

OPSET = 17


def write_onnx(model: GraphModule, shapes: Shapes, path: Path) -> None:
    """Write the model as torch.onnx gives it, with the inputs of `shapes` and the outputs that `named_outputs` names.

    torch's TorchScript exporter is used: it takes 3 s where the dynamo one takes 20, and names nodes by module paths.

    Args:
        model: float32, in evaluation mode.
        shapes: Shapes of the inputs by name, images NCHW.
        path: Where to write.

    Raises:
        ToolError: torch.onnx cannot export the model.
        UsageError: The outputs do not depend on one of the inputs.
    """
    inputs = tuple(arguments(model, zeros(shapes)))
    with torch.no_grad():
        names = list(named_outputs(model(*inputs)))
    said = io.StringIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model if len(names) == 1 else Flat(model).eval(),
                inputs,
                str(path),
                dynamo=False,
                opset_version=OPSET,
                input_names=input_names(model),
                output_names=names,
            )
    except (RuntimeError, TypeError, ValueError, torch.onnx.errors.OnnxExporterError) as error:
        raise ToolError(f"torch.onnx failed: {first_line(error)}.") from error
    _check_inputs(path, input_names(model))


def _check_inputs(path: Path, names: list[str]) -> None:
    """Check that all inputs arrived: torch.onnx leaves out one that no output needs."""
    import onnx

    kept = {value.name for value in onnx.load(path).graph.input}
    lost = [name for name in names if name not in kept]
    if lost:
        if lost[0] == INPUT:
            raise UsageError(
                "The model's outputs do not depend on its image.", "A model that gives constants needs no file."
            )
        raise UsageError(
            f"The model's outputs do not depend on its input {lost[0]}.",
            "Leave it out of the recipe's extra_inputs, and give the parameter of forward a default value.",
        )


def simplify(source: Path, target: Path, scratch: Path) -> None:
    """Write the simplified form of an ONNX file beside it; the source stays as it is.

    Raises:
        ToolError: onnxsim failed, or its result gives other outputs.
    """
    run_task("simplify", {"source": str(source.absolute()), "target": str(target.absolute())}, scratch)
