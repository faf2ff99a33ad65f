"""What targets take of a file, or of their files of a bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mobilekit.artifacts.analysis.probe import check_survives
from mobilekit.artifacts.litert import check_whole
from mobilekit.artifacts.onnx import read_onnx
from mobilekit.errors import UsageError
from mobilekit.targets.answer import Answer
from mobilekit.targets.catalogue import files_for, find_targets

Progress = Callable[[str], None]


def ask_targets(path: Path, listed: str, progress: Progress = lambda _message: None) -> list[Answer]:
    """Ask each target's compiler about its files.

    Args:
        path: A bundle's folder, or an .onnx or .tflite file.
        listed: The targets, with commas between them.
        progress: Is told what goes on.

    Raises:
        UsageError: There is no such path or target, or the target does not read such a file.
        ToolError: A target's parts are not installed, its compiler failed, or a file is damaged.
    """
    if not path.exists():
        raise UsageError(f"There is no file or folder {path}.")
    work = [(target, files_for(target, path)) for target in find_targets(listed)]
    for target, _files in work:
        if problem := target.why_not():
            raise problem
    for file in dict.fromkeys(file for _target, files in work for file in files):
        _check(file)  # some compilers end their process at what is damaged
    answers = []
    for target, files in work:
        for file in files:
            progress(f"asking {target.name} about {file.name}")
            answers.append(target.ask(file))
    return answers


def _check(path: Path) -> None:
    """See that a file is whole, and that LiteRT lives on when it opens it."""
    if path.suffix == ".onnx":
        read_onnx(path)
    else:
        check_whole(path)
        check_survives(path)
