"""A rewritten model as ONNX, as torch writes it and as onnxsim simplifies it."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import torch
from torch import nn

from mobilekit.convert.process import run_task
from mobilekit.errors import ToolError
from mobilekit.models.outputs import Flat, named_outputs

OPSET = 17
INPUT_NAMES = ("input",)


def write_onnx(model: nn.Module, shape: tuple[int, ...], path: Path) -> None:
    """Write the model as torch.onnx gives it, with one input `input` and the outputs that `named_outputs` names.

    torch's TorchScript exporter is used: it takes 3 s where the dynamo one takes 20, and names nodes by module paths.

    Args:
        model: float32, in evaluation mode.
        shape: Shape of the input, NCHW.
        path: Where to write.

    Raises:
        ToolError: torch.onnx cannot export the model.
    """
    with torch.no_grad():
        names = list(named_outputs(model(torch.zeros(shape))))
    said = io.StringIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model if len(names) == 1 else Flat(model).eval(),
                (torch.zeros(shape),),
                str(path),
                dynamo=False,
                opset_version=OPSET,
                input_names=list(INPUT_NAMES),
                output_names=names,
            )
    except (RuntimeError, TypeError, ValueError, torch.onnx.errors.OnnxExporterError) as error:
        first = str(error).strip().splitlines()[0]
        raise ToolError(f"torch.onnx failed: {first}.") from error


def simplify(source: Path, target: Path, scratch: Path) -> None:
    """Write the simplified form of an ONNX file beside it; the source stays as it is.

    Raises:
        ToolError: onnxsim failed, or its result gives other outputs.
    """
    run_task("simplify", {"source": str(source.absolute()), "target": str(target.absolute())}, scratch)
