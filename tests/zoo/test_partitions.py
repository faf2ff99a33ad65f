"""All families' files have four axes and run whole on XNNPACK at other sizes too; exports gate the recipes' own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mobilekit.artifacts.inspect import inspect
from mobilekit.convert.depthwise import with_depthwise
from mobilekit.convert.pipeline import convert
from mobilekit.jobs.adjust import adjust
from mobilekit.jobs.source import recipe_of_model
from mobilekit.models.build import build_reference, effective_options
from mobilekit.models.families.efficientvit import Attention
from mobilekit.models.families.shufflenet import ShuffleUnit
from mobilekit.models.user import resolve
from mobilekit.recipes.inputs.calibration import read_calibration
from mobilekit.rewrites.engine import rewrite
from mobilekit.store.cache import NoCache
from mobilekit.store.stages import DEFAULT_PRECISIONS, Stage, tflite_stage
from tests.axes import most_axes_in
from tests.zoo import MODELS


def transpositions(model: nn.Module) -> int:
    """Return how many a network needs.

    One for each channel shuffle but the first unit's, which its dense convolution takes; two for each attention, whose
    heads are matrices of their own.
    """
    modules = list(model.modules())
    shuffles = sum(isinstance(module, ShuffleUnit) for module in modules)
    return max(0, shuffles - 1) + 2 * sum(isinstance(module, Attention) for module in modules)


@pytest.mark.parametrize("size", [192, 256])
@pytest.mark.parametrize("model", MODELS)
def test_four_axes_and_one_partition_at_other_sizes(model: str, size: int, tmp_path: Path) -> None:
    loaded = adjust(recipe_of_model(model), input_size=size)
    recipe, entry = loaded.recipe, resolve(model)
    calibration = read_calibration(recipe, None)
    pictures = {"input": torch.from_numpy(calibration.arrays["input"][:2])}
    reference = build_reference(entry, effective_options(entry, recipe.model_options, size), None, pictures)
    graph = rewrite(reference.model, loaded, prove=False).graph  # exports prove; here only the form counts
    for name in ("stages", "scratch"):
        (tmp_path / name).mkdir()
    convert(tmp_path, tmp_path / "scratch", graph, recipe, calibration, NoCache(), lambda _message: None).check()
    files = [Stage.ONNX_SIMPLIFIED.file, *(tflite_stage(precision).file for precision in DEFAULT_PRECISIONS)]
    assert {file: most_axes_in(tmp_path / file) for file in files} == dict.fromkeys(files, 4)
    content = (tmp_path / Stage.TFLITE_FLOAT32.file).read_bytes()
    assert with_depthwise(content) is content  # no convolution with kernels of one channel is left in groups
    for precision in ("float32", "float16", "int8"):
        found = inspect(tmp_path / tflite_stage(precision).file)
        assert found.delegate and (found.delegate.partitions, found.delegate.undelegated) == (1, ())
        assert found.ops.get("TRANSPOSE", 0) == transpositions(reference.model)
