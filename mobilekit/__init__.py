"""mobilekit takes a PyTorch vision model to ONNX and TFLite and proves what arrived there.

The functions below are for Python code; docs/python.md has examples. They are loaded when they are first used, as torch
takes seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mobilekit.models.torchvision_ops import make_importable

__version__ = "0.1.0"
__all__ = ["diff", "export", "load_model", "load_recipe", "open_bundle", "rewrite"]

if TYPE_CHECKING:
    from mobilekit.api import diff, export, load_model, load_recipe, open_bundle, rewrite


make_importable()  # torchvision, in a notebook as well


def __getattr__(name: str) -> Any:
    if name in __all__:
        from mobilekit import api

        return getattr(api, name)
    raise AttributeError(f"module 'mobilekit' has no attribute {name!r}")
