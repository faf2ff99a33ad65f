"""What replays golden cases: LiteRT, ONNX Runtime, MediaPipe, or any program that reads a tensor and writes one."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.onnx import OnnxRuntime
from mobilekit.errors import ToolError, UsageError, first_line, nearest
from mobilekit.jobs.goldens.result import GoldenCase, GoldenFile
from mobilekit.store.files import read_numbers

Tensors = dict[str, NDArray[Any]]
"""As a file takes and gives them, by name."""

FILE_VARIABLE = "MOBILEKIT_GOLDEN_FILE"
"""Names to a program the file that it is to run."""
_SECONDS = 600
"""For one run of a program."""
_CALLED = "It is called as CMD INPUT.npy OUTPUT.npy, and writes the output: `mobilekit goldens check --help`."


class Replayer(ABC):
    """Runs a file on the tensors of a case."""

    suffix = ".tflite"
    """Of the files that it runs."""

    def why_not(self, file: GoldenFile) -> str | None:
        """Return why it does not run a file; None where it does."""
        return None if file.file.endswith(self.suffix) else f"it runs {self.suffix} files"

    @abstractmethod
    def run(self, file: GoldenFile, case: GoldenCase, inputs: Tensors) -> Tensors:
        """Return the outputs, in the file's format or as the numbers that these stand for.

        Raises:
            ToolError: It failed.
        """


class LiteRT(Replayer):
    """LiteRT on this machine's processor.

    Args:
        bundle: The folder with the files.
    """

    def __init__(self, bundle: Path) -> None:
        self._opened = cache(lambda name: LiteRTRuntime(bundle / name))

    def run(self, file: GoldenFile, case: GoldenCase, inputs: Tensors) -> Tensors:
        """Run the file."""
        runtime = self._opened(file.file)
        for info in runtime.inputs:
            runtime.interpreter.set_tensor(info.index, inputs[info.name])
        runtime.interpreter.invoke()
        return {info.name: runtime.interpreter.get_tensor(info.index) for info in runtime.outputs}


class Onnx(Replayer):
    """ONNX Runtime on this machine's processor; see `LiteRT`."""

    suffix = ".onnx"

    def __init__(self, bundle: Path) -> None:
        self._opened = cache(lambda name: OnnxRuntime(bundle / name))

    def run(self, file: GoldenFile, case: GoldenCase, inputs: Tensors) -> Tensors:
        """Run the file."""
        runtime = self._opened(file.file)
        return dict(zip(runtime.output_names, runtime.session.run(runtime.output_names, inputs), strict=True))


class MediaPipe(Replayer):
    """MediaPipe's ImageClassifier, given the picture of the input's size.

    Args:
        bundle: The folder with the files.
        folder: Has the pictures.
    """

    def __init__(self, bundle: Path, folder: Path) -> None:
        try:
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision
        except ImportError as error:
            raise ToolError("MediaPipe is not installed.", "pip install mediapipe") from error
        self._bundle, self._folder, self._mediapipe = bundle, folder, mediapipe

        def open_classifier(name: str) -> Any:
            options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=str(bundle / name)))
            return vision.ImageClassifier.create_from_options(options)

        self._opened = cache(open_classifier)

    def why_not(self, file: GoldenFile) -> str | None:
        """Return why MediaPipe does not open a file."""
        from mobilekit.artifacts.analysis.mediapipe import tasks_for, why_refused
        from mobilekit.artifacts.inspect import inspect

        if reason := super().why_not(file):
            return reason
        if len(file.outputs) != 1:
            return "its ImageClassifier reads one output"
        found = inspect(self._bundle / file.file)
        is_read = "ImageClassifier" in tasks_for(found)
        return why_refused(found) or (None if is_read else "its ImageClassifier reads a row of scores")

    def run(self, file: GoldenFile, case: GoldenCase, inputs: Tensors) -> Tensors:
        """Classify the picture."""
        from PIL import Image

        if case.scaled is None:
            raise UsageError(f"{case.name} has no picture, which MediaPipe takes.", "Make goldens of pictures.")
        with Image.open(self._folder / case.scaled) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        image = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=pixels)
        try:
            found = self._opened(file.file).classify(image).classifications[0].categories
        except (RuntimeError, ValueError) as error:
            raise ToolError(f"MediaPipe does not open {file.file}: {first_line(error)}.") from error
        scores = [each.score for each in sorted(found, key=lambda each: each.index)]
        return {file.outputs[0].name: np.array(scores, np.float32)}


class Program(Replayer):
    """A program, called as `CMD INPUT.npy OUTPUT.npy`: it reads the file's input, and writes its output.

    Args:
        command: The program and its first arguments, as a shell would have them; no shell sees them.
    """

    suffix = ""

    def __init__(self, command: str) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"--runtime {command} cannot be split into words: {error}.", _CALLED) from error
        if not self._words:
            raise UsageError("--runtime is empty.", f"Known: {', '.join(RUNTIMES)}, or a program.")
        if shutil.which(self._words[0]) is None:
            raise ToolError(f"There is no program {self._words[0]}.", nearest(self._words[0], RUNTIMES))

    def why_not(self, file: GoldenFile) -> str | None:
        """Return why a program cannot be asked."""
        one = len(file.inputs) == len(file.outputs) == 1
        return None if one else "a program reads one tensor and writes one"

    def run(self, file: GoldenFile, case: GoldenCase, inputs: Tensors) -> Tensors:
        """Run the program."""
        with TemporaryDirectory(prefix="mobilekit-golden-") as scratch:
            given, made = Path(scratch, "input.npy"), Path(scratch, "output.npy")
            np.save(given, next(iter(inputs.values())))
            words = [*self._words, str(given), str(made)]
            try:
                done = subprocess.run(  # noqa: S603 the user's own program, without a shell
                    words,
                    check=False,
                    capture_output=True,
                    text=True,
                    errors="replace",
                    timeout=_SECONDS,
                    env={**os.environ, FILE_VARIABLE: file.file},
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise ToolError(f"{self._words[0]} cannot be run: {first_line(error)}.", _CALLED) from error
            if done.returncode != 0:
                said = first_line("\n".join(done.stderr.strip().splitlines()[-1:]))
                raise ToolError(f"{self._words[0]} failed with exit code {done.returncode}: {said}.", _CALLED)
            try:
                return {file.outputs[0].name: read_numbers(made)}
            except ValueError as error:
                raise ToolError(
                    f"{self._words[0]} ended well, and its last argument is no .npy with the output: "
                    f"{first_line(error)}.",
                    _CALLED,
                ) from error


RUNTIMES: Mapping[str, Callable[[Path, Path], Replayer]] = {
    "litert": lambda bundle, _folder: LiteRT(bundle),
    "onnxruntime": lambda bundle, _folder: Onnx(bundle),
    "mediapipe": MediaPipe,
}
"""By name; each takes the folder with the files and that of the goldens."""


def replayer(runtime: str, bundle: Path, folder: Path) -> Replayer:
    """Return what `--runtime` names: one of `RUNTIMES`, or else a program.

    Raises:
        ToolError: It is not there.
        UsageError: It cannot be split into words.
    """
    return RUNTIMES[runtime](bundle, folder) if runtime in RUNTIMES else Program(runtime)
