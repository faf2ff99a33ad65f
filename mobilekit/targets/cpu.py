"""`cpu`: XNNPACK, the delegate that LiteRT takes by itself, as the installed LiteRT has it."""

from __future__ import annotations

from pathlib import Path

from mobilekit.artifacts.delegate import describe_delegate
from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.op_list import list_ops
from mobilekit.errors import MobilekitError
from mobilekit.store.versions import installed_version
from mobilekit.targets.answer import Answer, Target, counted


class CPU(Target):
    """XNNPACK."""

    suffix = ".tflite"
    reads = ".tflite files"

    def why_not(self) -> MobilekitError | None:
        """Return None: LiteRT is always there."""
        return None

    def ask(self, path: Path) -> Answer:
        """Open a file, and return what XNNPACK took."""
        found = describe_delegate(LiteRTRuntime(path).interpreter)
        modules = {made.name: op.module for op in list_ops(path) for made in op.outputs}
        refused = counted((each.op, each.reason, modules.get(each.name)) for each in found.undelegated)
        asked = f"LiteRT {installed_version('ai-edge-litert')}, XNNPACK"
        return Answer(self.name, path.name, found.delegated, found.total, found.partitions, refused, asked)
