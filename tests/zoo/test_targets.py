"""Every family's float files are whole on the processor and on the GPU, by their own compilers, and right there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.jobs.bundle_models import recipe_of_bundle
from mobilekit.recipes.inputs.builtin import evaluation_inputs
from mobilekit.store.bundle import open_bundle, output_layouts
from mobilekit.store.stages import Stage
from mobilekit.targets.catalogue import find_target
from mobilekit.targets.gpu import GPUProcess, on_gpu
from mobilekit.targets.gpu_setup import find_problem
from tests.zoo import MODELS

FLOATS = (Stage.TFLITE_FLOAT32, Stage.TFLITE_FLOAT16)


@pytest.mark.parametrize("word", ["cpu", "gpu"])
@pytest.mark.parametrize("model", MODELS)
def test_float_files_are_whole(word: str, bundle: Path) -> None:
    target = find_target(word)
    if problem := target.why_not():
        pytest.skip(problem.what)
    answers = [target.ask(bundle / stage.file) for stage in FLOATS]
    assert [(answer.file, answer.refused, answer.wrong) for answer in answers if not answer.is_whole] == []
    assert [answer.wrong for answer in answers] == [(), ()]


@pytest.mark.parametrize("model", MODELS)
def test_the_gpu_gives_what_the_processor_gives(bundle: Path) -> None:
    """In float32, in which SwiftShader computes: the same floats in another order."""
    if problem := find_problem():
        pytest.skip(problem.what)
    inputs = evaluation_inputs(recipe_of_bundle(open_bundle(bundle)).recipe).inputs
    some = {name: array[:2] for name, array in inputs.items()}
    layouts, path = output_layouts(bundle), bundle / Stage.TFLITE_FLOAT32.file
    here = LiteRTRuntime(path, layouts).run(some)
    with GPUProcess() as process:
        there = on_gpu(process).open(Stage.GPU_FLOAT32, path, layouts).run(some)
    for name, outputs in here.items():
        assert np.linalg.norm(there[name] - outputs) < 1e-5 * np.linalg.norm(outputs)
