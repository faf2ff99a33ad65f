"""Which files a bench is about: those named, those of bundles, or all under artifacts/."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

from mobilekit.artifacts.executorch.pte import read_pte
from mobilekit.errors import ToolError, UsageError
from mobilekit.store.bundle import MANIFEST, MODULES, file_on, open_bundle
from mobilekit.store.files import sha256_of
from mobilekit.store.stages import stage_of_file, tflite_stage

DEFAULT_FOLDER = Path("artifacts")
_IDENTIFIER = b"TFL3"  # of the FlatBuffers schema
PROGRAM = ".pte"
"""The suffix of files for ExecuTorch."""


@dataclass(frozen=True)
class Artifact:
    """A .tflite or .pte file that is timed."""

    path: Path
    name: str
    """The same on every machine: `ghostnetv2/model.int8.tflite` in a bundle, else the file's name."""
    group: str
    """Files of one group are compared with its first: those of one bundle, or all that stand alone."""
    precision: str
    """`unknown` where nothing tells."""
    sha256: str
    bundle: Path | None

    def alignment(self) -> dict[str, Any] | None:
        """Return which module each tensor comes from, where the file's bundle knows.

        Raises:
            ToolError: The bundle is damaged.
        """
        path = self.bundle / MODULES if self.bundle else None
        if path is None or not path.exists():
            return None
        try:
            content: dict[str, Any] = json.loads(path.read_text())
        except ValueError as error:
            raise ToolError(f"{path} is damaged.", "`mobilekit verify` tells what of the bundle changed.") from error
        return content


def find_artifacts(paths: Sequence[Path], target: str = "") -> list[Artifact]:
    """Return the files to time, each once, in the order given.

    Args:
        paths: Files and folders of bundles; none means every bundle under artifacts/.
        target: Whose own files are taken of a bundle, in place of those that they stand for.

    Raises:
        ToolError: A .pte file is damaged, or of another version.
        UsageError: A path is neither, a file is no TFLite file, there is nothing to time, or there are files of two
            runtimes.
    """
    paths = paths or _default_bundles()
    if not paths:
        raise UsageError(
            f"There is no bundle under {DEFAULT_FOLDER}/.",
            "`mobilekit export MODEL` makes one; or name bundles or .tflite files.",
        )
    found: dict[Path, Artifact] = {}
    for path in paths:
        for artifact in _of_bundle(path, target) if path.is_dir() else [_of_file(path)]:
            found.setdefault(artifact.path.resolve(), artifact)
    times = Counter(artifact.name for artifact in found.values())
    if len({artifact.path.suffix == PROGRAM for artifact in found.values()}) > 1:
        raise UsageError(
            "These are files of two runtimes, and figures of two are not compared.",
            "Bench .tflite and .pte files in runs of their own.",
        )
    return [each if times[each.name] == 1 else replace(each, name=printable(str(each.path))) for each in found.values()]


def failed_stages(paths: Sequence[Path]) -> list[str]:
    """Return a sentence for each stage that the bundles among `find_artifacts`'s paths were exported without."""
    bundles = [open_bundle(path) for path in paths or _default_bundles() if path.is_dir()]
    return [f"{one.path} has no {each.stage}: {each.reason}." for one in bundles for each in one.failed_stages]


def _default_bundles() -> list[Path]:
    return sorted(path.parent for path in DEFAULT_FOLDER.glob(f"*/{MANIFEST}"))


def _of_bundle(folder: Path, target: str) -> list[Artifact]:
    bundle = open_bundle(folder)
    precisions = bundle.precisions
    if not precisions:
        if program := next((quote(str(path)) for path in sorted(folder.glob(f"*{PROGRAM}"))), ""):
            raise UsageError(f"{folder} has no TFLite file.", f"`mobilekit bench {program}` times its .pte file.")
        for failed in bundle.failed_stages:
            raise UsageError(
                f"{folder} has no TFLite file: {failed.stage} was left out: {failed.reason}.", failed.advice
            )
        raise UsageError(f"{folder} has no TFLite file.", "Export it with --precision float32, for example.")
    paths = {each: file_on(folder, tflite_stage(each), target) for each in precisions}
    return [_artifact(path, str(folder.resolve()), each, folder) for each, path in paths.items()]


def _of_file(path: Path) -> Artifact:
    if not path.is_file():
        raise UsageError(f"There is no file {path}.", "Give bundles, .tflite or .pte files.")
    if path.suffix not in (".tflite", PROGRAM):
        raise UsageError(f"{path} is neither a .tflite file, which benchmark_model runs, nor a .pte file.")
    stage = stage_of_file(path.name)
    if stage is not None and (path.parent / MANIFEST).is_file():
        return _artifact(path, "files", stage.precision, path.parent)
    return _artifact(path, "files", "unknown", None)


def _artifact(path: Path, group: str, precision: str, bundle: Path | None) -> Artifact:
    with path.open("rb") as file:
        head = file.read(8)
    if path.suffix == PROGRAM:
        read_pte(path)
    elif head[4:] != _IDENTIFIER:  # LiteRT would crash on it
        raise UsageError(f"{path} is not a TFLite file: it does not begin as one.", "Convert or export it again.")
    name = f"{bundle.resolve().name}/{path.name}" if bundle else path.name
    return Artifact(path, printable(name), group, precision, sha256_of(path), bundle)


def printable(text: str) -> str:
    """Return a text without what UTF-8 cannot hold, such as names of files in other encodings."""
    return text.encode(errors="replace").decode()
