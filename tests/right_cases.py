"""What is right for each of the cases, and exports that are compared with that.

The oracle is the factory's own module, run by PyTorch image by image, and LiteRT by itself: neither the ledger, nor the
graph, nor the rewrites have a part in it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mobilekit.jobs.adjust import adjust
from mobilekit.jobs.export import export
from mobilekit.jobs.request import ExportRequest
from mobilekit.jobs.source import Source, choose_recipe
from mobilekit.parity.ledger.result import Ledger, ledger_of
from mobilekit.store.bundle import Bundle
from mobilekit.store.cache import NoCache
from mobilekit.store.stages import Precision
from tests import cases

Arrays = dict[str, NDArray[Any]]

FLOAT32 = 2e-6
"""Of the largest output. One rounding is 6e-8, and these nets have a few layers; a wrong file is off by .1 and more."""
LONG_SUMS = 1e-5
"""Where a mean of 1,024 values is added one after the other: its roundings add up to 32 of one, once in a million to 5
times that."""
COORDINATES = 2e-5
"""Where a map is read at coordinates of up to 48 pixels: two of them, each rounded twice by 6e-8 x 48 of a pixel, and
neighbors that are up to twice the largest output apart."""
BEYOND_8_BITS = "The file loses more than rounding to 8 bits must."
"""Softplus, which arrives as an exponential and a logarithm, and coordinates: what 8 bits cannot hold."""


@dataclass(frozen=True)
class Case:
    """What a case's files must give.

    Attributes:
        outputs: The names, in the order in which the module returns the tensors.
        tolerance: How far float32 may be off, in units of the largest output. Integers and booleans must be equal.
        int8: What is said of an int8 file that fails; nothing of one that passes.
    """

    outputs: tuple[str, ...]
    tolerance: float = FLOAT32
    int8: str = ""


CASES = {
    "functional_convolutions": Case(("logits",)),
    "ceil_pool_after_prelu": Case(("logits",)),
    "own_batch_norms": Case(("logits",)),
    "integer_and_boolean_buffers": Case(("output",)),
    "float32_made_in_forward": Case(("output",)),
    "written_for_a_batch_of_one": Case(("output",)),
    "one_tensor_as_two_outputs": Case(("map", "nhwc")),
    "one_layer_under_two_names": Case(("output",)),
    "scalar_output": Case(("score", "map")),
    "boolean_output": Case(("mask", "score")),
    "constant_output": Case(("output_0", "output_1")),
    "names_that_meet": Case(("p_3", "p_3_1")),
    "label_output": Case(("output",)),
    "boxes_and_scores": Case(("output",)),
    "response_norm": Case(("output",)),
    "bilinear_by_one_and_a_half": Case(("output",), COORDINATES),
    "nearest_down_by_seven": Case(("output",)),
    "mish_and_softplus": Case(("output",)),
    "flow_warp": Case(("output",), COORDINATES),
    "multihead_attention": Case(("logits",)),
    "attention_in_three_axes": Case(("output",)),
    "recurrent_columns": Case(("output",)),
    "channels_of_unlike_ranges": Case(("logits",)),
    "one_wide_mean": Case(("logits",), LONG_SUMS),
    "parallel_branches": Case(("logits",)),
    "two_clamps": Case(("logits",)),
}


def exported(name: str, folder: Path, precisions: tuple[Precision, ...], calibration: Path | None = None) -> Bundle:
    """Export a case with the default recipe, and with what its factory sets."""
    spec = f"{cases.__file__}:{name}"
    loaded = adjust(choose_recipe(spec, None), size_of(name), None, list(precisions), True)
    return export(ExportRequest(Source(spec, loaded, None, calibration), folder), NoCache()).bundle


def size_of(name: str) -> int:
    return cases.SIZES.get(name, 32)


def images(name: str, count: int, seed: int = 0) -> NDArray[np.float32]:
    """Return standard normal images, NCHW."""
    size = size_of(name)
    return np.random.default_rng(seed).standard_normal((count, 3, size, size), dtype=np.float32)


def expected(name: str, image: NDArray[np.float32]) -> Arrays:
    """Return what the factory's module gives for one image, by the names that the files must have."""
    model = getattr(cases, name)()
    with torch.no_grad():
        result = model(torch.from_numpy(image[None]))
    tensors = result.values() if isinstance(result, dict) else result if isinstance(result, tuple) else [result]
    return {key: tensor.numpy() for key, tensor in zip(CASES[name].outputs, tensors, strict=True)}


def given(folder: Path, file: str, image: NDArray[np.float32]) -> Arrays:
    """Return what LiteRT makes of a file, by its signature's names, maps moved to NCHW as the manifest says."""
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(folder / file)).get_signature_runner()
    results = run(input=np.ascontiguousarray(image[None].transpose(0, 2, 3, 1)))
    described = json.loads((folder / "manifest.json").read_text())["artifacts"][file]["outputs"]
    layouts = {tensor["name"]: tensor["layout"] for tensor in described}
    assert layouts.keys() == results.keys()
    return {key: value.transpose(0, 3, 1, 2) if layouts[key] == "NHWC" else value for key, value in results.items()}


def check_float32(name: str, folder: Path) -> Ledger:
    """Hold the float32 file to the factory's module, and return the ledger."""
    for image in images(name, 2, seed=5):
        right, made = expected(name, image), given(folder, "model.float32.tflite", image)
        assert made.keys() == right.keys()
        for key, truth in right.items():
            assert made[key].shape == truth.shape, key
            if truth.dtype.kind == "f":
                limit = CASES[name].tolerance * np.abs(truth).max()
                assert np.abs(made[key] - truth).max() <= limit, key
            else:
                assert made[key].dtype.kind == truth.dtype.kind
                assert (made[key] == truth).all(), key
    return ledger_of(Bundle(folder, {}))
