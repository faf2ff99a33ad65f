"""litert-quantizer's formats of a float32 file of the direct writer, without TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Collection

import numpy as np

from mobilekit.artifacts.tflite import TFLiteGraph


def dynamic(content: bytes) -> bytes:
    """Return a float32 file with int8 weights, a scale for each channel, that are multiplied with rounded inputs.

    Depthwise convolutions stay float32: XNNPACK has none of this kind, and they have few weights.
    """
    from litert_quantizer import quantizer, recipe  # type: ignore[import-not-found]

    tool = quantizer.Quantizer(bytearray(content), recipe.dynamic_legacy_wi8_afp32())
    tool.update_quantization_recipe(".*", "DEPTHWISE_CONV_2D", algorithm_key="no_quantize")
    return bytes(tool.quantize(enable_progress_report=False).quantized_model)


def int8(content: bytes, ranges: bytes, kept: Collection[str]) -> bytes:
    """Return a float32 file in int8, by ranges of ours, but for the ops whose results are to stay in float.

    Args:
        content: The file.
        ranges: The same file with the ranges in it.
        kept: Names of the tensors that stay in float.
    """
    from litert_quantizer import quantizer, recipe

    graph = TFLiteGraph(ranges)
    found = {}
    for number in graph.computed():
        quantization = graph.tensors[number].quantization
        if quantization is not None and quantization.min is not None and graph.is_float32(number):
            low, high = np.float32(quantization.min[0]), np.float32(quantization.max[0])
            found[graph.name(number)] = {"min": np.array(low), "max": np.array(high)}
    tool = quantizer.Quantizer(bytearray(content), recipe.static_wi8_ai8())
    if kept:
        names = "|".join(map(re.escape, sorted(kept)))
        tool.update_quantization_recipe(f"(?:^|;)(?:{names});", "*", algorithm_key="no_quantize")
    return bytes(tool.quantize(found, enable_progress_report=False).quantized_model)
