"""Independent implementations to compare with."""

from __future__ import annotations

import sys
from types import ModuleType
from unittest import mock

# What timm imports of torchvision; its models use none of it.
_TORCHVISION = ("", ".transforms", ".transforms.functional", ".ops", ".ops.misc", ".models", ".datasets")


def import_timm() -> ModuleType:
    """Return timm, also where torchvision's compiled part does not fit the installed torch.

    torchvision from the package index is built for the CUDA build of torch and cannot be imported beside the CPU
    build. timm needs it for data loading alone, so a stand-in serves its models.
    """
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in _TORCHVISION:
            sys.modules[f"torchvision{name}"] = mock.MagicMock()
    import timm

    return timm
