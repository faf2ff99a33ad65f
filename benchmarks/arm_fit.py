"""Counts of instructions held against published latencies of phones: a table of docs/arm.md.

`.venv/bin/python -m benchmarks.arm_fit`, after `mobilekit devices setup-emulated`. The networks are those of Keras with
random weights, as the published ones had them too. Files and counts are kept in mobilekit's cache folder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.arm import count, counted_with
from benchmarks.tables import DOCS, markdown, ran_on, write
from mobilekit.artifacts.tflite import TFLiteGraph
from mobilekit.bench.instructions.cores import core_named
from mobilekit.store.cache import default_folder
from mobilekit.store.files import write_atomic

PUBLISHED = {
    "MobileNet": (82, 86, 88),
    "MobileNetV2": (49, 53, 55),
    "MobileNetV3Large": (39, 42, 44),
    "MobileNetV3Small": (12, 14, 14),
}
"""Milliseconds of one thread on PHONES, from XNNPACK's README (https://github.com/google/XNNPACK#mobile-phones, of
March 27, 2020), by the names of keras.applications."""
PHONES = ("Pixel", "Pixel 2", "Pixel 3a")
CORE = "a76"
"""None of the phones' big cores (Kryo, Kryo 280 and Kryo 360 Gold) is one that is counted."""


def file_of(network: str) -> Path:
    """Return a network's float32 file, made once."""
    path = default_folder() / "arm" / f"{network}.tflite"
    if not path.exists():
        import tensorflow as tf

        picture = tf.keras.Input(batch_shape=(1, 224, 224, 3))  # of a free batch, shapes would be computed in the file
        options = {"include_preprocessing": False} if "V3" in network else {}
        made = getattr(tf.keras.applications, network)(input_tensor=picture, weights=None, **options)
        write_atomic(path, tf.lite.TFLiteConverter.from_keras_model(made).convert())
    return path


def macs_of(path: Path) -> int:
    """Return the multiply-accumulates of a file's convolutions and fully connected layers."""
    graph = TFLiteGraph(path.read_bytes())
    total = 0
    for op in graph.ops_of(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")):
        weights = graph.shape(graph.operands[op][1])
        [made] = graph.results[op]
        each = weights[1:3] if graph.kinds[op] == "DEPTHWISE_CONV_2D" else weights[1:]
        total += math.prod(graph.shape(made)) * math.prod(each)
    return total


def fit(published: Mapping[str, float], figures: Mapping[str, float]) -> tuple[float, dict[str, float]]:
    """Return the factor that brings figures nearest to a phone's latencies, and what is left of each.

    Returns:
        The factor for which the largest deviation, up or down, is smallest; and published / (factor * figure) by name.
    """
    ratios = {name: published[name] / figure for name, figure in figures.items()}
    factor = math.sqrt(min(ratios.values()) * max(ratios.values()))
    return factor, {name: ratio / factor for name, ratio in ratios.items()}


def _rows(counts: Mapping[str, float], macs: Mapping[str, float]) -> Iterator[list[str]]:
    """Yield a row for each network, and what is off at most on each phone."""
    by_phone = [{name: float(times[at]) for name, times in PUBLISHED.items()} for at in range(len(PHONES))]
    fits = [(fit(times, counts)[1], fit(times, macs)[1]) for times in by_phone]
    for name in PUBLISHED:
        cells = [
            f"{times[name]:g} ({ours[name]:.2f}; {old[name]:.2f})"
            for times, (ours, old) in zip(by_phone, fits, strict=True)
        ]
        yield [name, f"{macs[name] / 1e6:.1f}", f"{counts[name] / 1e6:.2f}", *cells]
    yield ["farthest off", "", "", *(f"{max(ours.values()):.2f}; {max(old.values()):.2f}" for ours, old in fits)]


def main() -> None:
    """Count, fit, and write the table."""
    files = {name: file_of(name) for name in PUBLISHED}
    counts = {name: float(count(path, core_named(CORE)) or math.nan) for name, path in files.items()}
    macs = {name: float(macs_of(path)) for name, path in files.items()}
    head = ("network", "MACs, million", f"instructions ({core_named(CORE).model}), million")
    table = markdown([*head, *(f"{phone}, ms" for phone in PHONES)], _rows(counts, macs))
    ran = f"By `benchmarks/arm_fit.py` on {ran_on(('mobilekit', 'tensorflow'))} {counted_with()}"
    write(DOCS / "arm.md", "arm_fit", f"{table}\n\n{ran}")


if __name__ == "__main__":
    main()
