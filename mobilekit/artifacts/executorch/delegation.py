"""What of a .pte file delegates run, and why the steps between them are left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mobilekit.artifacts.delegate import Delegation, UndelegatedOp
from mobilekit.artifacts.executorch.pte import PTE, XNNPACK
from mobilekit.errors import ToolError
from mobilekit.store.bundle import OUTSIDE
from mobilekit.store.stages import stage_of_file

_FORMED = frozenset(
    (
        *("alias_copy", "as_strided_copy", "avg_pool2d", "cat", "clone", "constant_pad_nd", "expand_copy", "full"),
        *("mean", "native_layer_norm", "select_copy", "slice_copy", "_softmax", "split_copy", "split_with_sizes_copy"),
        *("squeeze_copy", "sum", "unsqueeze_copy", "upsample_nearest2d"),
    )
)
"""Ops, as ExecuTorch names them, that an export of mobilekit writes in other forms wherever it can."""
_BY_EXPORT = "an export by mobilekit, --precision pte-float32, writes it in a form that is taken"
_CAST = "_to_dim_order_copy"
_AT_ENDS = "the file computes in float16, and takes and gives float32"
_HELP = {
    _CAST: "with `input: {dtype: float32}` in the recipe the file takes numbers",
    "avg_pool2d": "with ceil_mode=False no window reaches past the padding",
    "max_pool2d_with_indices": "a stride that is no longer than the window, and no indices, are taken",
    "native_group_norm": "a batch norm is folded into the convolution before it",
    "slice_copy": "a step of 1 is taken",
    "upsample_nearest2d": "a whole factor is taken",
}
"""What lets XNNPACK take the ops that our forms leave."""
_AGAIN = "Export the bundle again, or inspect a copy of the file."


def describe_parts(path: Path, found: PTE) -> Delegation:
    """Return what delegates run of a file, and the steps that they do not run, with module and reason.

    Modules, and ExecuTorch's own reasons, are known of a file that lies in a bundle.

    Args:
        path: The file.
        found: What is in it.

    Raises:
        ToolError: What the bundle says of the file cannot be read.
    """
    told = _told(path)
    if [each["op"] for each in told] != [*found.outside]:
        told = [{"op": op} for op in found.outside]
    inside = sum(sum(part.ops.values()) for part in found.parts)
    backends = dict.fromkeys("XNNPACK" if part.backend == XNNPACK else part.backend for part in found.parts)
    return Delegation(
        name=" and ".join(backends) or None,
        partitions=len(found.parts),
        delegated=inside,
        total=inside + len(found.outside),
        undelegated=tuple(_undelegated(number, each, found) for number, each in enumerate(told)),
    )


def _undelegated(number: int, told: dict[str, str], found: PTE) -> UndelegatedOp:
    op, module, reason = told["op"], told.get("module") or None, told.get("reason", "")
    told_reason = reason or f"XNNPACK's partitioner of ExecuTorch takes no {op}"
    help_text = _HELP.get(op) if found.facts or op not in _FORMED else _BY_EXPORT
    if op == _CAST and found.precision == "float16":
        help_text = _AT_ENDS
    return UndelegatedOp(op, f"step {number}", told_reason, module, help_text)


def _told(path: Path) -> list[dict[str, str]]:
    """Return what a bundle says of the steps outside of a file; nothing for a file outside of a bundle."""
    stage = stage_of_file(path.name)
    source = path.parent / OUTSIDE.format(stage) if stage else None
    if source is None or not source.is_file():
        return []
    try:
        told: list[Any] = json.loads(source.read_text("utf-8"))
        return [{key: str(each[key]) for key in ("op", "module", "reason")} for each in told]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ToolError(f"{source} cannot be read: {error}.", _AGAIN) from error
