"""Whether a model returns what the `output` of its recipe says of it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.models.batches import run_in_batches
from mobilekit.models.inputs import Tensors
from mobilekit.parity.ledger.invariants import probabilities_of
from mobilekit.recipes.schema import Output

_TRIED = 4
"""Inputs that tell."""
_LARGEST = 4.0
"""Of a box's sides as shares: untrained detectors give some that lie beside the picture, and pixels are more."""
_ASKED = "It takes boxes (1, N, 4), classes (1, N), scores (1, N) and their number (1), all floats and in this order."


def check_outputs(model: nn.Module, said: Output, inputs: Tensors) -> None:
    """Run a model on a few inputs (N, ...) by name, and refuse one that returns something else.

    Raises:
        UsageError: A softmax is to stand behind probabilities, or detections are none.
    """
    if not (said.activation or said.detections):
        return
    few = {name: tensor[:_TRIED] for name, tensor in inputs.items()}
    with torch.no_grad():
        outputs = run_in_batches(model, few, 1)
    if said.activation:
        _check_logits(outputs)
    else:
        _check_detections(outputs)


def _check_logits(outputs: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in outputs.items():
        if kind := probabilities_of(tensor.numpy()):
            raise UsageError(
                f"The model's output {name} is that of a {kind} already.",
                "Leave `output: {activation: softmax}` out of the recipe.",
            )


def _check_detections(outputs: Mapping[str, torch.Tensor]) -> None:
    """See that there are four tensors of the right shapes, and boxes in shares."""
    shapes = [tuple(tensor.shape[1:]) for tensor in outputs.values()]
    count = shapes[0][0] if shapes[0] else 0
    right = [(count, 4), (count,), (count,), ()]
    shapes[3:] = [() if shape == (1,) else shape for shape in shapes[3:]]
    if shapes != right or not all(tensor.is_floating_point() for tensor in outputs.values()):
        found = ", ".join(
            f"{name} {('x'.join(map(str, (1, *tensor.shape[1:]))))} of {str(tensor.dtype).removeprefix('torch.')}"
            for name, tensor in outputs.items()
        )
        raise UsageError(f"`output: {{detections: ...}}` is for other outputs than {found}.", _ASKED)
    boxes, classes, scores = list(outputs.values())[:3]
    if bool((classes != classes.round()).any()) or not 0 <= float(scores.min()) <= float(scores.max()) <= 1:
        raise UsageError("The second output has no whole numbers of classes, or the third no scores of 0 to 1.", _ASKED)
    if float(boxes.abs().max()) > _LARGEST:
        raise UsageError(
            f"The boxes have sides of up to {float(boxes.max()):.4g}, and no shares of the input's width and height.",
            "Divide them by the input's width and height in the model.",
        )
