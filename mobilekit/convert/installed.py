"""Whether the converters are installed: they are an extra of the package, and exist for some versions of Python."""

from __future__ import annotations

import sys

from mobilekit.artifacts.coreml import environment as coreml
from mobilekit.artifacts.executorch import environment as executorch
from mobilekit.errors import ToolError
from mobilekit.recipes.schema import Recipe
from mobilekit.store.stages import Stage
from mobilekit.store.versions import installed_version, tool_versions

PYTHONS = ((3, 11), (3, 12), (3, 13))
"""The versions of Python for which there are converters, the newest last."""
CONVERTERS = ("onnx2tf", "onnxscript", "onnxsim", "tensorflow", "tf-keras")


def writes_directly() -> bool:
    """Return whether the installed onnx2tf can write files itself, without Keras: from version 2 on."""
    return int((installed_version("onnx2tf") or "0").partition(".")[0]) >= 2


def imported() -> tuple[str, ...]:
    """Return what takes long to import in the process that makes files, in the order of use.

    TensorFlow is among it without the direct writer; with it the quantizer alone needs a small part of TensorFlow.
    """
    simplify = "mobilekit.convert.tasks.simplify"
    return (simplify, "onnx2tf.onnx2tf") if writes_directly() else (simplify, "tensorflow", "onnx2tf")


def check_installed() -> None:
    """See that all converters are installed.

    Raises:
        ToolError: One is not; the message says how to get them.
    """
    missing = [name for name in CONVERTERS if installed_version(name) is None]
    if missing:
        raise ToolError(f"The converters are not installed: {', '.join(missing)}.", f"{to_get_them()}.")


def tools_of(recipe: Recipe) -> dict[str, str]:
    """Return the versions of all that makes the files of a recipe.

    Raises:
        ToolError: It asks for files for ExecuTorch or Core ML, and what makes these is not there.
    """
    programs = executorch.versions() if recipe.programs else {}
    return tool_versions() | programs | (coreml.versions() if Stage.MLPACKAGE.value in recipe.precision else {})


def to_get_them() -> str:
    """Return what installs them, or where to export instead if there are none for this Python."""
    if sys.version_info[:2] in PYTHONS:
        return "In mobilekit's folder: pip install '.[convert]', or make setup"
    first, last, here = ("{}.{}".format(*version) for version in (PYTHONS[0], PYTHONS[-1], sys.version_info))
    return f"Export with Python {first} to {last}, for which there are converters; all else works with {here}"
