"""What int8 costs MobileNetV2 with its ImageNet weights in ExecuTorch, with each step of ours on and off.

    .venv/bin/python -m benchmarks.executorch_int8 FOLDER [--write]

FOLDER is that of benchmarks.int8_accuracy, or a new one: what is there already is taken as it is. Calibrated on the
built-in photos and measured on 200 crops of 20 others; errors are to the float32 TFLite file. `--write` puts the table
into docs/executorch.md.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.int8_accuracy.__main__ import export, fetch
from benchmarks.int8_accuracy.measure import CLASSES, by_litert
from benchmarks.int8_accuracy.networks import NETWORKS
from benchmarks.tables import DOCS, markdown, ran_on, write
from mobilekit.artifacts.executorch.environment import versions
from mobilekit.artifacts.executorch.runtime import ExecuTorchRuntime
from mobilekit.convert.executorch.float_steps import float_steps
from mobilekit.convert.executorch.forms import FORMS
from mobilekit.convert.executorch.lower import Quantization, lower
from mobilekit.convert.program.program import program_of
from mobilekit.jobs.bundle_models import models_of_bundle, recipe_of_bundle
from mobilekit.store.bundle import INPUT, open_bundle, output_layouts

NAME = "MobileNetV2"
STEPS: Mapping[str, tuple[bool, bool]] = {
    "ranges of its histograms": (False, False),
    "and corrected biases": (True, False),
    "chosen ranges and corrected biases": (True, True),
}
"""Whether biases are corrected, and ranges chosen."""


def rows(work: Path) -> Iterator[list[str]]:
    """Yield the figures of each file."""
    network = NETWORKS[NAME]
    bundle = open_bundle(export(NAME, network, work))
    loaded = recipe_of_bundle(bundle)
    recipe = loaded.recipe
    _reference, rewritten = models_of_bundle(bundle, loaded)
    program = program_of(rewritten.graph, recipe.file_shapes, FORMS, recipe.bytes)
    pictures, calibration = network.pictures(work, recipe), network.calibration(work, recipe)
    content = (bundle.path / "model.float32.tflite").read_bytes()
    wanted, _ends = by_litert(content, output_layouts(bundle.path), pictures.images)
    [name] = wanted
    given = {INPUT: pictures.images.transpose(0, 3, 1, 2).astype(np.float32)}
    for said, (correct_bias, choose) in STEPS.items():
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.int8.pte"
            steps = float_steps(program, recipe.int8)
            lower(program, path, path.parent, {}, Quantization([calibration], steps, correct_bias, choose))
            [made] = ExecuTorchRuntime(path).run(given).values()
        yield [said, *CLASSES.figures({name: made}, wanted, pictures, None)[:-1]]
        print(said, flush=True)


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    work = options.work.absolute()
    fetch(work)
    os.chdir(work)  # the bundle names its weights from there
    tools = ", ".join(f"{name} {version}" for name, version in versions().items())
    text = f"{markdown(['MobileNetV2 in int8', *CLASSES.head[:-1]], rows(work))}\n\n{ran_on(('mobilekit',))} {tools}."
    print(text)
    if options.write:
        write(DOCS / "executorch.md", "executorch_int8", text)


if __name__ == "__main__":
    main()
