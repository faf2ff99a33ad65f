"""What is in an artifact, on the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mobilekit.artifacts.delegate import Delegation
from mobilekit.artifacts.inspect import Inspection, Tensor, TFLiteTensor


def inspect_lines(file: Path, found: Inspection) -> list[str]:
    """Return the lines that `mobilekit inspect` prints of a file; nothing in them is markup."""
    ops = ", ".join(f"{number} {name}" for name, number in found.ops.items())
    count = sum(found.ops.values())
    return [
        f"{file}: {found.format}, {found.size_bytes / 1e6:.2f} MB",
        *(f"  input  {_tensor(tensor)}" for tensor in found.inputs),
        *(f"  output {_tensor(tensor)}" for tensor in found.outputs),
        f"{count} op{'' if count == 1 else 's'}: {ops}",
        *(_delegate_lines(found.delegate) if found.delegate else ()),
    ]


def _tensor(tensor: Tensor) -> str:
    shape = "x".join(str(size) for size in tensor.shape)
    quantized = ""
    if isinstance(tensor, TFLiteTensor) and tensor.scale:
        quantized = f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
    layout = f" {tensor.layout}" if tensor.layout else ""
    return f"{tensor.name}: {tensor.dtype} {shape}{layout}{quantized}"


def _delegate_lines(delegate: Delegation) -> Iterator[str]:
    if delegate.name is None:
        yield "No delegate took anything: every op runs on LiteRT's own kernels."
        return
    parts = f"{delegate.partitions} partition{'' if delegate.partitions == 1 else 's'}"
    yield f"{delegate.name} runs {delegate.delegated} of {delegate.total} ops in {parts}."
    kinds = Counter((each.op, each.reason) for each in delegate.undelegated)
    yield from (f"  not delegated: {count} {op} ({reason})" for (op, reason), count in kinds.most_common())
