"""Replay golden cases, and hold what comes to their tolerances."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilekit.errors import ToolError, UsageError
from mobilekit.jobs.goldens.result import (
    FORMAT,
    GOLDENS,
    GoldenCase,
    GoldenFile,
    GoldenRow,
    Goldens,
    Place,
    Replayed,
    Tolerance,
)
from mobilekit.jobs.goldens.runtimes import RUNTIMES, Tensors, replayer
from mobilekit.parity.ledger.metrics import compare
from mobilekit.store.bundle import read_part
from mobilekit.store.files import read_numbers, sha256_of
from mobilekit.store.manifest import Tensor
from mobilekit.store.stages import FORM_STAGES, Stage

Progress = Callable[[str], None]

_ANEW = "Make the goldens anew: `mobilekit goldens make BUNDLE -o DIR --force`."


def open_goldens(folder: Path) -> Goldens:
    """Read a folder's goldens.json.

    Raises:
        UsageError: There is none, or one of a later version.
    """
    if not (folder / GOLDENS).is_file():
        raise UsageError(f"{folder} holds no {GOLDENS}.", "`mobilekit goldens make BUNDLE -o DIR` makes one.")
    goldens: Goldens = read_part(folder / GOLDENS, Goldens)
    if goldens.format != FORMAT:
        raise UsageError(f"{folder / GOLDENS} has the format {goldens.format}, and this version reads {FORMAT}.", _ANEW)
    if fault := _fault(goldens):
        raise UsageError(f"{folder / GOLDENS} is not whole: {fault}.", _ANEW)
    return goldens


def _fault(goldens: Goldens) -> str | None:
    """Return what goldens.json lacks of what it names itself; None where it is whole."""
    for file in goldens.files:
        if not file.inputs or not file.outputs:
            return f"{file.file} has no input or no output"
        ends = {"input": {each.name for each in file.inputs}, "output": {each.name for each in file.outputs}}
        for place, tolerances in file.tolerances.items():
            if ends["output"] - tolerances.keys():
                return f"{file.file} has no tolerance of an output for the {place}"
        for case in goldens.cases:
            for end, paths in (("input", case.inputs), ("output", case.expected)):
                if ends[end] - paths.get(file.file, {}).keys():
                    return f"{case.name} has no {end} of {file.file}"
    return None if goldens.files and goldens.cases else "it has no file or no case"


def check_goldens(
    folder: Path,
    runtime: str = "litert",
    bundle: Path | None = None,
    precisions: Sequence[str] | None = None,
    place: Place = "cpu",
    progress: Progress = lambda _message: None,
) -> Replayed:
    """Replay the cases of a folder.

    Args:
        folder: As `make_goldens` wrote it.
        runtime: `litert`, `onnxruntime`, `mediapipe`, or a program with its first arguments.
        bundle: The folder with the files; without, where goldens.json says that it was.
        precisions: Of the files to replay, as a recipe names them; without, all that the runtime runs.
        place: Whose tolerances hold.
        progress: Is told what goes on.

    Raises:
        UsageError: The goldens or the files are missing or others, or there is no such tolerance.
        ToolError: The runtime is missing, failed, or runs none of the files.
    """
    goldens = open_goldens(folder)
    suffix = ".onnx" if runtime == "onnxruntime" else ".tflite"
    files = _chosen(goldens, suffix, precisions)
    if runtime in RUNTIMES and (other := next((each.file for each in files if not each.file.endswith(suffix)), "")):
        hint = "Choose another --precision, or leave it out." if suffix == ".onnx" else "Add --runtime onnxruntime."
        raise UsageError(f"--precision names {other}, and {runtime} runs {suffix} files.", hint)
    if not files:
        there = ", ".join(file.file for file in goldens.files)
        hint = "Add --runtime onnxruntime." if suffix == ".tflite" else "Leave --runtime out."
        raise UsageError(f"{runtime} runs {suffix} files, and the goldens are of {there}.", hint)
    place_of_files = folder / goldens.bundle if bundle is None else bundle
    for file in files if runtime in RUNTIMES else ():  # a program has its own
        _check_file(place_of_files / file.file, file)
    replays = replayer(runtime, place_of_files, folder)
    skipped = {file.file: reason for file in files if (reason := replays.why_not(file))}
    rows: list[GoldenRow] = []
    for file in (each for each in files if each.file not in skipped):
        limits = _limits(file, place)
        for case in goldens.cases:
            progress(f"{file.file}, {case.name}")
            given = replays.run(file, case, _load(folder, case.inputs[file.file], file.inputs))
            rows += _rows(file, case, given, _load(folder, case.expected[file.file], file.outputs), limits)
    if not rows:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
        hint = "`--runtime litert` runs all .tflite files, and `--runtime onnxruntime` all .onnx."
        raise ToolError(f"{runtime} runs none of the files: {reasons}.", hint)
    if precisions is None:
        skipped |= {file.file: _elsewhere(suffix, file.file) for file in goldens.files if file not in files}
    return Replayed(runtime, place, tuple(rows), skipped)


def _elsewhere(suffix: str, file: str) -> str:
    """Return what replays a file that a runtime of files with this suffix does not."""
    if file == Stage.MLPACKAGE.file:
        return f"it is run on a Mac, by a program: `--runtime CMD --precision {Stage.MLPACKAGE}`"
    return f"it is run by `--runtime {'litert' if suffix == '.onnx' else 'onnxruntime'}`"


def _chosen(goldens: Goldens, suffix: str, precisions: Sequence[str] | None) -> list[GoldenFile]:
    """Return the files of some precisions, or all with a suffix.

    Raises:
        UsageError: The goldens lack one.
    """
    files = {file.file: file for file in goldens.files}
    if precisions is None:
        return [file for name, file in files.items() if name.endswith(suffix)]
    forms = {str(form): stage for form, stage in FORM_STAGES.items()}
    for precision in precisions:
        if forms[precision].file not in files:
            raise UsageError(f"The goldens have no {precision} file.", f"They have {', '.join(sorted(files))}.")
    return [files[forms[precision].file] for precision in dict.fromkeys(precisions)]


def _check_file(path: Path, file: GoldenFile) -> None:
    if not path.is_file():
        raise UsageError(f"There is no file {path}.", "Name the folder with the files: --bundle FOLDER.")
    if sha256_of(path) != file.sha256:
        raise UsageError(
            f"{path} is another file than the goldens are of.",
            "Make goldens of it: `mobilekit goldens make BUNDLE -o DIR --force`.",
        )


def _limits(file: GoldenFile, place: Place) -> dict[str, Tolerance]:
    if place not in file.tolerances:
        raise UsageError(
            f"The goldens have no tolerances of {file.file} for the {place}.",
            "`mobilekit goldens make` simulates them; a model of code has to be named with --reference.",
        )
    return dict(file.tolerances[place])


def _load(folder: Path, paths: Mapping[str, str], tensors: Sequence[Tensor]) -> Tensors:
    """Read what a file takes or gives in a case."""
    read: Tensors = {}
    for tensor in tensors:
        path = folder / paths[tensor.name]
        try:
            read[tensor.name] = array = read_numbers(path)
        except ValueError as error:
            raise UsageError(f"{path} cannot be read: {error}.", _ANEW) from error
        sizes = zip(tensor.shape, array.shape, strict=False)
        is_alike = array.ndim == len(tensor.shape) and all(a == b for a, b in sizes if isinstance(a, int))
        if array.dtype.name != tensor.dtype or not is_alike:
            wanted = f"{tensor.dtype} {'x'.join(map(str, tensor.shape))}"
            got = f"{array.dtype} {'x'.join(map(str, array.shape))}"
            raise UsageError(f"{path} holds {got}, and {tensor.name} is {wanted}.", _ANEW)
    return read


def _rows(
    file: GoldenFile, case: GoldenCase, given: Tensors, expected: Tensors, limits: dict[str, Tolerance]
) -> list[GoldenRow]:
    """Return a row for each output."""
    rows = []
    for tensor in file.outputs:
        limit, name = limits[tensor.name], tensor.name
        wanted, found = expected[name], given[name]
        if found.size != wanted.size:
            fault = f"{found.size} values, and not {wanted.size}"
            rows.append(GoldenRow(case.name, file.file, name, math.nan, limit.metric, math.nan, limit.limit, fault))
            continue
        metrics = compare(_values(wanted, tensor)[None], _values(found.reshape(wanted.shape), tensor, wanted)[None])
        value = getattr(metrics, limit.metric)
        if value is None:  # labels where there were none, or the other way round
            value = math.nan
        rows.append(GoldenRow(case.name, file.file, name, metrics.max_abs, limit.metric, value, limit.limit))
    return rows


def _values(array: NDArray[np.generic], tensor: Tensor, like: NDArray[np.generic] | None = None) -> NDArray[np.generic]:
    """Return what numbers of a tensor stand for. Floats, where the tensor has none, stand for themselves."""
    is_encoded = like is None or array.dtype == like.dtype
    if tensor.scale is None or tensor.zero_point is None or not is_encoded:
        is_label = array.dtype.kind in "iub" and (like is None or like.dtype.kind in "iub")
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, which is off
            return array.astype(np.int64 if is_label else np.float32)
    return (array.astype(np.float32) - np.float32(tensor.zero_point)) * np.float32(tensor.scale)
