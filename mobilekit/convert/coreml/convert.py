"""Writes .mlpackage folders: the exported program goes to a process with coremltools, and the package comes from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch.export import ExportedProgram

from mobilekit.artifacts.coreml.environment import start
from mobilekit.errors import ToolError, first_line
from mobilekit.rewrites.fx.capture import quiet
from mobilekit.store.worker import WorkerError

_WORKER = "mobilekit.convert.coreml.convert_worker"
_PROGRAM = "coreml.pt2"
_LONGEST = 300
"""Letters of coremltools' words that are quoted."""
_SECONDS = 1800


def convert_package(
    program: ExportedProgram, package: Path, scratch: Path, target: str, facts: Mapping[str, Any]
) -> None:
    """Write a program as an .mlpackage.

    Args:
        program: Decomposed.
        package: The folder to write, which does not exist.
        scratch: A folder for the program's own file.
        target: The oldest system that must read it, such as `iOS15`.
        facts: What the package says of itself, as JSON data.

    Raises:
        ToolError: coremltools is not installed, or does not convert the program.
    """
    handed = scratch / _PROGRAM
    with quiet():
        torch.export.save(program, handed)
    request = {"program": str(handed.absolute()), "package": str(package.absolute()), "target": target, "facts": facts}
    try:
        with start(_WORKER) as worker:
            worker.ask(request, _SECONDS)
    except WorkerError as error:
        raise _explained(error) from error
    finally:
        handed.unlink(missing_ok=True)


def _explained(error: WorkerError) -> ToolError:
    """Return what a failure is to the user: coremltools' reason, and what to do."""
    tool = error.tool or "coremltools' process"
    said = shorten(first_line(error.words), _LONGEST, placeholder=" ...").rstrip(".: ")
    if error.is_late:
        said = f"it came to no end in {_SECONDS} s"
    elif error.code is not None:
        said = f"it {error.ending}: {said}"
    told = ToolError(
        f"{tool} does not convert the model: {said}.",
        "The other files are whole; `mobilekit --debug export MODEL --strict` shows all of coremltools' output.",
    )
    told.add_note(f"Output of coremltools:\n{error.log}")
    return told
