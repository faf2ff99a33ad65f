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
        undelegated=tuple(_undelegated(number, each) for number, each in enumerate(told)),
    )


def _undelegated(number: int, told: dict[str, str]) -> UndelegatedOp:
    op, module, reason = told["op"], told.get("module") or None, told.get("reason", "")
    return UndelegatedOp(
        op, f"step {number}", reason or f"XNNPACK's partitioner of ExecuTorch takes no {op}", module=module
    )


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
