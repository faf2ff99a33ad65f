"""What `mobilekit recover` brings back of trained networks, without a label.

    python -m benchmarks.recover [--steps 150] [--cifar FILE.npz WEIGHTS.safetensors] [--only WORD] [--write]

Run from the repository's root. Each rewrite that is not exact is put before a network's recipe where the weights were
not trained for it, and so is int8: on the small GhostNetV2 of the digits with its trained weights, or on a GhostNetV2
0.25 of CIFAR's pictures, which no package has; its weights are made where there are none. The pictures that a network
was trained on are given without their classes. What is written goes through `--weights` into the model again, as an
export takes it, and is measured on test pictures, which no training saw. `--write` puts the table into docs/recover.md,
which has one of each.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.export_cost import processor
from benchmarks.int8_accuracy import cifar
from benchmarks.int8_accuracy.measure import Arrays
from benchmarks.rewrites_accuracy import MODEL, dense_maps, with_activation
from benchmarks.tables import DOCS, markdown, write
from benchmarks.train_digits import tensors
from mobilekit.api import load_model
from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.jobs.build import Built, build
from mobilekit.jobs.recover.job import recover
from mobilekit.jobs.recover.result import RecoverRequest, Training
from mobilekit.jobs.source import Source
from mobilekit.models.names import LIVE
from mobilekit.parity.ledger.format_error import fake_quantize_int8
from mobilekit.parity.ledger.metrics import compare
from mobilekit.parity.ranges.activations import record
from mobilekit.recipes.load import LoadedRecipe, load_recipe, recipe_for
from mobilekit.recipes.schema import RewriteStep
from mobilekit.rewrites.engine import rewrite

PAGE = DOCS / "recover.md"
HEAD = ("network", "with", "relative L2", "recovered", "same first class, %", "recovered", "top-1, %", "recovered")
ANY_DRIFT = 10.0


@dataclass(frozen=True)
class Network:
    """A trained network, with the recipe that it was trained for."""

    source: Source
    train: Arrays
    """Inputs to train on, (N, C, H, W)."""
    test: Arrays
    classes: Arrays
    """Of the test inputs, int64 (N,)."""
    is_calibrated_on_them: bool = False
    """On the inputs to train on; else on those that the recipe brings."""


@dataclass(frozen=True)
class Trial:
    """One thing that a network has to bear."""

    network: str
    make: Callable[[], Network]
    label: str
    steps: tuple[RewriteStep, ...] = ()
    int8: bool = False


def _step(name: str, **options: object) -> RewriteStep:
    return RewriteStep(name=name, options=options, allow=True, max_drift=ANY_DRIFT)


def _of_digits(module: nn.Module) -> Network:
    (train, _classes), (test, classes) = tensors("train"), tensors("test")
    source = Source(f"{LIVE}digits", recipe_for(MODEL), module=module)
    return Network(source, train.numpy(), test.numpy(), classes.numpy())


def _as_trained() -> Network:
    return _of_digits(load_model(MODEL))


def _of_cifar(file: Path, weights: Path) -> Network:
    pictures = cifar.read(file)
    cifar.trained(pictures, weights)
    train, test = (each.transpose(0, 3, 1, 2) for each in (pictures.train, pictures.test))
    source = Source("ghostnetv2", load_recipe(str(cifar.RECIPE)), weights)
    return Network(source, train, test, pictures.test_labels, is_calibrated_on_them=True)


TRIALS = (
    Trial("as trained", _as_trained, "hard-sigmoid", (_step("hard-sigmoid"),)),
    Trial("as trained", _as_trained, "pool-mode, to max", (_step("pool-mode", to="max"),)),
    Trial("as trained", _as_trained, "int8", (), True),
    Trial("as trained", _as_trained, "hard-sigmoid and int8", (_step("hard-sigmoid"),), True),
    Trial(
        "dense maps",
        lambda: _of_digits(dense_maps()),
        "dfc-dense, 3 taps",
        (_step("dfc-dense", kernel_size=3),),
    ),
    Trial("SiLU for ReLU", lambda: _of_digits(with_activation(nn.SiLU)), "hard-swish", (_step("hard-swish"),)),
)


def _trials_of_cifar(make: Callable[[], Network]) -> tuple[Trial, ...]:
    return (
        Trial("CIFAR", make, "hard-sigmoid", (_step("hard-sigmoid"),)),
        Trial("CIFAR", make, "int8", (), True),
        Trial("CIFAR", make, "hard-sigmoid and int8", (_step("hard-sigmoid"),), True),
    )


def _bearing(loaded: LoadedRecipe, steps: tuple[RewriteStep, ...]) -> LoadedRecipe:
    both = (*steps, *loaded.recipe.rewrites)
    return replace(loaded, recipe=loaded.recipe.model_copy(update={"rewrites": both}), lines={})


def measure(trial: Trial, steps: int, folder: Path) -> tuple[str, ...]:
    """Recover a network, and return its row of the table; `folder` is empty, and for this trial alone."""
    network, pictures, weights = trial.make(), folder / "pictures.npz", folder / "recovered.safetensors"
    np.savez(pictures, input=network.train)
    source = replace(
        network.source,
        recipe=_bearing(network.source.recipe, trial.steps),
        calibration=pictures if network.is_calibrated_on_them else None,
    )
    before = build(source)
    right = TorchRuntime(before.reference.model).run({"input": network.test.astype(np.float32)})["logits"]
    figures = [_figures(before, right, network, trial)]
    recover(
        RecoverRequest(source, pictures, weights, trial.int8, Training(steps)), lambda text: print(text, flush=True)
    )
    figures.append(_figures(build(replace(source, weights=weights)), right, network, trial))
    cells = [f"{one} | {other}" for one, other in zip(*figures, strict=True)]
    return (trial.network, trial.label, *cells)


def _figures(built: Built, right: Arrays, network: Network, trial: Trial) -> tuple[str, str, str]:
    """Return the distance from the model as it was, the agreement with it, and top-1, on the test pictures."""
    recipe = built.source.recipe
    graph = rewrite(built.reference.model, recipe, built.tensors, prove=False, enforce_limits=False).graph
    made: nn.Module = graph
    if trial.int8:
        ranges = record(graph, built.calibration.arrays, pixels=recipe.recipe.pixels).ranges
        made = fake_quantize_int8(graph, recipe.recipe.int8, ranges)
    logits = TorchRuntime(made).run({"input": network.test.astype(np.float32)})["logits"]
    found = compare(right, logits, network.classes)
    assert found.top1 is not None
    return f"{found.relative_l2:.3f}", f"{found.top1_agreement:.1%}".rstrip("%"), f"{found.top1:.1%}".rstrip("%")


def make_table(rows: list[tuple[str, ...]], steps: int) -> str:
    """Return the rows as Markdown, and how they were measured."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "scikit-learn"))
    made = f"By `benchmarks/recover.py` on {datetime.date.today()}: {processor()}, {os.cpu_count()} cores, one thread,"
    how = f"{steps} steps of {Training().batch} pictures. int8 is a simulation."
    return "\n".join([markdown(HEAD, rows), "", how, "", made, f"Python {platform.python_version()}, {versions}."])


def main() -> None:
    """Measure, print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--cifar", type=Path, nargs=2, metavar=("FILE.npz", "WEIGHTS.safetensors"))
    parser.add_argument("--only", default="", help="trials that have this word in their name")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    trials = _trials_of_cifar(lambda: _of_cifar(*options.cifar)) if options.cifar else TRIALS
    for trial in trials:
        if options.only in f"{trial.network} {trial.label}":
            print(f"{trial.network}: {trial.label}", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                rows.append(measure(trial, options.steps, Path(folder)))
            print(" | ".join(rows[-1]), flush=True)
    table = make_table(rows, options.steps)
    print(table)
    if options.write:
        write(PAGE, "recover_cifar" if options.cifar else "recover", table)


if __name__ == "__main__":
    main()
