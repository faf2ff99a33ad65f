"""Lets torchvision be imported where its compiled part does not fit the installed torch.

The torchvision of the package index is built for the CUDA build of torch; beside a CPU build its library cannot be
loaded, and its import ends at the first operator that is missing. No image model needs one: that the operators are
declared is enough.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

# The compiled operators that torchvision's Python code names when it is imported, as it declares them itself.
_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[Any] = []  # a library's operators go when it does


class _BeforeTorchvision:
    """Is asked first when a module is imported: declares the operators before torchvision's code runs."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return nothing: the finders after this one find it."""
        if name == "torchvision":
            sys.meta_path.remove(_finder)
            if misfit():
                _declare_operators()
        return None


_finder = _BeforeTorchvision()


def make_importable() -> None:
    """Let `import torchvision` work from here on, in code of others as well; nothing is imported for it."""
    if "torchvision" not in sys.modules and _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def misfit() -> str:
    """Return why the compiled part of the installed torchvision does not work, in a sentence; nothing where it does."""
    spec = PathFinder.find_spec("torchvision")
    library = PathFinder.find_spec("_C", list(spec.submodule_search_locations or ())) if spec else None
    if spec is None or library is None or library.origin is None:
        return ""
    import torch

    try:
        torch.ops.load_library(library.origin)  # type: ignore[no-untyped-call]
    except OSError:
        return f"it is built for another build of torch than {torch.__version__}"
    return ""


def _declare_operators() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in _OPERATORS:
        if not hasattr(torch.ops.torchvision, operator.partition("(")[0]):
            library.define(operator)  # type: ignore[no-untyped-call]
    _declared.append(library)
