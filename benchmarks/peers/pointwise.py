"""Pointwise convolutions alone, as .tflite files: their best rate is the machine's arithmetic limit.

Runs in mobilekit's own environment.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.peers.worker import serve

SHAPES = ((28, 128), (14, 256), (14, 512), (7, 1024))
"""Height and width, and channels in and out."""
LAYERS = 8
"""In a row, so that what a call costs beside them does not count."""


def macs(size: int, channels: int) -> int:
    """Return the multiply-accumulates of one file."""
    return LAYERS * size * size * channels * channels


def name(size: int, channels: int, precision: str) -> str:
    """Return the name of one file."""
    return f"pointwise-{size}-{channels}.{precision}.tflite"


def convert() -> None:
    """Write the files of all shapes, float32 and int8, into the working directory."""
    import tensorflow as tf

    for size, channels in SHAPES:
        shape, draw = (size, size, channels), np.random.default_rng(0)
        layers = [tf.keras.layers.Conv2D(channels, 1, activation="relu") for _ in range(LAYERS)]
        network = tf.keras.Sequential([tf.keras.Input(shape, 1), *layers])
        converter = tf.lite.TFLiteConverter.from_keras_model(network)
        Path(name(*shape[1:], "float32")).write_bytes(converter.convert())
        samples = [[draw.standard_normal((1, *shape), dtype=np.float32)] for _ in range(4)]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda samples=samples: iter(samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        Path(name(*shape[1:], "int8")).write_bytes(converter.convert())


if __name__ == "__main__":
    serve(convert, None)
