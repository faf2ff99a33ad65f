"""The order of a TFLite file's inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def ordered(content: bytes, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """Return a TFLite file whose inputs and outputs are in this order, for callers who go by position.

    TensorFlow Lite's converter keeps a signature's names and loses their order. The lists of tensor numbers are changed
    where they stand; nothing else of the file moves.

    Args:
        content: The file, with one graph and a signature.
        inputs: The signature's names of all inputs.
        outputs: The signature's names of all outputs.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    changed = bytearray(content)
    model = schema.Model.GetRootAs(changed)
    graph, signature = model.Subgraphs(0), model.SignatureDefs(0)
    taken = _numbers(signature.Inputs(i) for i in range(signature.InputsLength()))
    given = _numbers(signature.Outputs(i) for i in range(signature.OutputsLength()))
    graph.InputsAsNumpy()[:] = [taken[name] for name in inputs]
    graph.OutputsAsNumpy()[:] = [given[name] for name in outputs]
    return bytes(changed)


def _numbers(tensors: Any) -> dict[str, int]:
    """Return the number of each tensor of a signature by its name there."""
    return {tensor.Name().decode(): tensor.TensorIndex() for tensor in tensors}
