"""A rewritten model as ONNX, as torch writes it and as onnxsim simplifies it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx import GraphModule

from mobilekit.convert.flat import flat
from mobilekit.convert.onnx_forms import attention, forms
from mobilekit.convert.process import explain, run_task
from mobilekit.errors import FullDiskError, ToolError, UsageError, first_line
from mobilekit.models.inputs import arguments, input_names, zeros
from mobilekit.models.outputs import named_outputs
from mobilekit.models.shapes import Shapes
from mobilekit.recipes.schema import Int8, Opset
from mobilekit.rewrites.fx.capture import quiet
from mobilekit.store.bundle import INPUT
from mobilekit.store.files import save_arrays
from mobilekit.store.stages import Precision
from mobilekit.store.worker import WorkerError

if TYPE_CHECKING:
    import onnx_ir

aten = torch.ops.aten

_PARTS = (
    "graph",
    "graph_signature",
    "state_dict",
    "range_constraints",
    "module_call_graph",
    "example_inputs",
    "constants",
)
"""What an exported program is made of."""
_RECURRENT = (aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input)
_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch.onnx says of which modules a node is: a list as Python writes it, of paths and the step's own name."""


def write_onnx(model: GraphModule, shapes: Shapes, path: Path, opset: Opset | None = None) -> None:
    """Write the model as torch.onnx gives it, with the inputs of `shapes` and the outputs that `named_outputs` names.

    A node is called `MODULE/Kind` after the path of its module, with a number where there are several. Nothing else in
    the file says where it is from, so that two machines write the same bytes.

    Args:
        model: float32, in evaluation mode.
        shapes: Shapes of the inputs by name, images NCHW.
        path: Where to write.
        opset: Version of ONNX's operators. Without, 20 where a GELU is in the model, which then is one operator; else
            18, which more tools read.

    Raises:
        ToolError: torch.onnx cannot export the model.
        UsageError: The outputs do not depend on one of the inputs.
    """
    inputs = tuple(arguments(model, zeros(shapes)))
    with torch.no_grad():
        outputs = list(named_outputs(model(*inputs)))
    try:
        with quiet(), torch.no_grad():
            program = _unrolled(torch.export.export(_flat(model), inputs, strict=False))
            made = _translated(program, opset or (20 if _has_gelu(program) else 18))
            _tidy(made.model)
            _name(made.model, input_names(model), outputs)
            _strip(made.model)
    except Exception as error:  # anything may go wrong in either exporter
        raise ToolError(f"torch.onnx failed: {first_line(_cause(error))}.") from error
    _check_inputs(made.model)
    made.save(path)


def _unrolled(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Return a program in which recurrent layers are written step by step.

    TFLite's own go on from the state in which the inference before has left them, and PyTorch's begin anew with each.
    """
    if not any(node.target in _RECURRENT for node in program.graph.nodes):
        return program
    from torch._decomp import decomposition_table

    made: torch.export.ExportedProgram = program.run_decompositions(
        {target: decomposition_table[target] for target in _RECURRENT}
    )
    return made


class _AsItIs(torch.export.ExportedProgram):
    """A program that torch.onnx translates as it is.

    It traces each program again, to split operators that it does not know, which takes half of its time and changes
    nothing where it knows them all.
    """

    def run_decompositions(self, *_how: object, **_more: object) -> torch.export.ExportedProgram:
        """Return the program."""
        return self


def _translated(program: torch.export.ExportedProgram, opset: int) -> torch.onnx.ONNXProgram:
    """Return the ONNX model of a program, of whose operators those that torch.onnx does not know are split."""
    for node in program.graph.nodes:
        if node.target is aten.adaptive_avg_pool2d.default and list(node.args[1]) == [1, 1]:
            node.target, node.args = aten.mean.dim, (node.args[0], [-1, -2], True)  # what it is split into
    parts = {name: getattr(program, name) for name in _PARTS}
    whole = _AsItIs(root=program.graph_module, **parts, verifiers=program.verifiers)
    for each in (whole, program):
        try:
            made = torch.onnx.export(
                each,
                dynamo=True,
                verbose=False,
                optimize=False,  # it would fold what no rewrite has proved
                opset_version=opset,
                custom_translation_table=forms(),
            )
            break
        except Exception:  # of any kind; where it is not for such an operator, it comes again
            if each is program:
                raise
    assert made is not None
    return made


def _flat(model: GraphModule) -> GraphModule:
    """Return the graph as `flat` has it, with attention written as torch.onnx takes it."""
    graph = flat(model)
    for node in graph.graph.nodes:
        if node.target is aten.scaled_dot_product_attention.default:
            node.target = attention
    graph.recompile()
    return graph


def _has_gelu(program: torch.export.ExportedProgram) -> bool:
    return any(node.target is torch.ops.aten.gelu.default for node in program.graph.nodes)


def _cause(error: BaseException) -> BaseException:
    """Return the first of a chain of errors: torch.onnx's own names a step of the export, and where to report it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _tidy(model: onnx_ir.Model) -> None:
    """Put functions in their places, compute what depends on no input, and leave out what does nothing.

    Some of ATen's operators come as functions of the file, more with onnxscript 0.6; onnx2tf does not read these.

    onnxsim 0.4.36 cannot read constants that are not tensors, which this makes of all, nor could a phone use sequences.
    """
    from onnx_ir.passes import common
    from onnxscript.optimizer import fold_constants

    common.InlinePass()(model)
    fold_constants(model, onnx_shape_inference=True)  # CastLike goes where dtypes are known
    common.IdentityEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.OutputFixPass()(model)
    _say_kernels(model)


def _say_kernels(model: onnx_ir.Model) -> None:
    """Give each transposed convolution its kernel's shape, which torch leaves out: onnx2tf 2.6.9 counts axes by it."""
    import onnx_ir

    for node in model.graph:
        if node.op_type == "ConvTranspose" and (kernel := node.inputs[1]) is not None and kernel.shape is not None:
            node.attributes.add(onnx_ir.AttrInt64s("kernel_shape", kernel.shape.numpy()[2:]))


def _name(model: onnx_ir.Model, inputs: list[str], outputs: list[str]) -> None:
    """Name inputs, outputs, and each node after its module; what else has such a name gets another."""
    from onnx_ir.passes.common import NameFixPass

    for value, name in zip([*model.graph.inputs, *model.graph.outputs], [*inputs, *outputs], strict=True):
        value.name = name
    for node in model.graph:
        node.name = f"{_module(node)}/{node.op_type}".removeprefix("/")
    NameFixPass()(model)


def _module(node: onnx_ir.Node) -> str:
    """Return the path of a node's module: of a node that computing constants made, that of what reads it."""
    found: onnx_ir.Node | None = node
    while found is not None and _SCOPES not in found.metadata_props:
        found = next((use.node for value in found.outputs for use in value.uses()), None)
    scopes: list[str] = ast.literal_eval(found.metadata_props[_SCOPES]) if found else []
    return scopes[-2] if len(scopes) > 1 else ""


def _strip(model: onnx_ir.Model) -> None:
    """Drop what another machine would write otherwise: where the model's code lies, and torch's build for a GPU."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    ClearMetadataAndDocStringPass()(model)
    model.metadata_props.clear()
    model.producer_version = torch.__version__.partition("+")[0]
    made = [value for node in model.graph for value in node.outputs]
    for value in [*model.graph.inputs, *model.graph.initializers.values(), *made]:
        value.metadata_props.clear()


def _check_inputs(model: onnx_ir.Model) -> None:
    """Check that something is computed of each input."""
    lost = [value.name for value in model.graph.inputs if not value.uses()]
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


@dataclass(frozen=True)
class QuantizedFiles:
    """What came of quantizing an ONNX file."""

    failed: Mapping[Precision, ToolError]
    """Why a file could not be made."""
    ranges: Mapping[str, Any] = field(default_factory=dict)
    """What tells for the ranges of the int8 one (`int8.trial`)."""


def quantize_onnx(
    source: Path,
    files: Mapping[Precision, Path],
    calibration: Mapping[str, NDArray[np.float32]],
    scratch: Path,
    settings: Int8,
) -> QuantizedFiles:
    """Write quantized ONNX files in QDQ form, and return what came of it.

    Args:
        source: The simplified float32 file.
        files: Where to write int8 and int16x8.
        calibration: float32 inputs (N, ...) by name.
        scratch: A folder for the tools' own files.
        settings: The recipe's of int8.

    Raises:
        FullDiskError: The disk is full.
    """
    save_arrays(scratch / "calibration.npz", calibration)
    request = {
        "onnx": str(source.absolute()),
        "files": {precision: str(path.absolute()) for precision, path in files.items()},
        "calibration": str((scratch / "calibration.npz").absolute()),
        "settings": settings.model_dump(mode="json"),
    }
    try:
        reply = run_task("quantize_onnx", request, scratch)
    except FullDiskError:
        raise
    except ToolError as error:
        return QuantizedFiles(dict.fromkeys(files, error))
    failed = {
        precision: explain("quantize_onnx", WorkerError(said["error"], tool=said.get("tool")), scratch)
        for precision, said in reply["failed"].items()
    }
    return QuantizedFiles(failed, reply["ranges"])
