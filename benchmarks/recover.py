"""What `mobilekit recover` brings back of the trained digits model, without a label.

    .venv/bin/python benchmarks/recover.py [--steps 150] [--only WORD] [--write]

Each rewrite that is not exact is put before the digits' recipe where the weights were not trained for it, and so is
int8, on the small GhostNetV2 with its trained weights; the 1437 training pictures are given without their classes. What
is written goes through `--weights` into the model again, as an export takes it, and is measured on the 360 test
pictures, which the training did not see. `--write` puts the table into docs/recover.md.
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
from export_cost import processor
from rewrites_accuracy import MODEL, dense_maps, with_activation
from torch import nn
from train_digits import tensors

from mobilekit.api import load_model
from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.jobs.recover.job import recover
from mobilekit.jobs.recover.result import RecoverRequest, Training
from mobilekit.jobs.source import Built, Source, build
from mobilekit.models.names import LIVE
from mobilekit.parity.ledger.format_error import fake_quantize_int8
from mobilekit.parity.ledger.metrics import compare
from mobilekit.parity.ranges.activations import record
from mobilekit.recipes.load import LoadedRecipe, recipe_for
from mobilekit.recipes.schema import RewriteStep
from mobilekit.rewrites.engine import rewrite

DOCS = Path(__file__).parents[1] / "docs" / "recover.md"
BEGIN, END = "<!-- benchmarks/recover.py -->", "<!-- end -->"
HEAD = ("network", "with", "relative L2", "recovered", "same first class, %", "recovered", "top-1, %", "recovered")
ANY_DRIFT = 10.0


@dataclass(frozen=True)
class Trial:
    """One thing that a network has to bear."""

    network: str
    make: Callable[[], nn.Module]
    label: str
    steps: tuple[RewriteStep, ...] = ()
    int8: bool = False


def _step(name: str, **options: object) -> RewriteStep:
    return RewriteStep(name=name, options=options, allow=True, max_drift=ANY_DRIFT)


def _as_trained() -> nn.Module:
    return load_model(MODEL)


TRIALS = (
    Trial("as trained", _as_trained, "hard-sigmoid", (_step("hard-sigmoid"),)),
    Trial("as trained", _as_trained, "pool-mode, to max", (_step("pool-mode", to="max"),)),
    Trial("as trained", _as_trained, "int8", (), True),
    Trial("as trained", _as_trained, "hard-sigmoid and int8", (_step("hard-sigmoid"),), True),
    Trial("dense maps", dense_maps, "dfc-dense, 3 taps", (_step("dfc-dense", kernel_size=3),)),
    Trial("SiLU for ReLU", lambda: with_activation(nn.SiLU), "hard-swish", (_step("hard-swish"),)),
)


def _recipe(steps: tuple[RewriteStep, ...]) -> LoadedRecipe:
    loaded = recipe_for(MODEL)
    both = (*steps, *loaded.recipe.rewrites)
    return replace(loaded, recipe=loaded.recipe.model_copy(update={"rewrites": both}), lines={})


def measure(trial: Trial, steps: int, pictures: Path) -> tuple[str, ...]:
    """Recover a network, and return its row of the table."""
    model = trial.make()
    source = Source(f"{LIVE}digits", _recipe(trial.steps), module=model)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "digits.safetensors"
        recover(
            RecoverRequest(source, pictures, weights, trial.int8, Training(steps)), lambda text: print(text, flush=True)
        )
        both = (build(source), build(replace(source, weights=weights)))
    figures = [_figures(model, built, trial) for built in both]
    cells = [f"{one} | {other}" for one, other in zip(*figures, strict=True)]
    return (trial.network, trial.label, *cells)


def _figures(model: nn.Module, built: Built, trial: Trial) -> tuple[str, str, str]:
    """Return the distance from the model as it was, the agreement with it, and top-1, on the test pictures."""
    graph = rewrite(built.reference.model, built.source.recipe, built.tensors, prove=False, enforce_limits=False).graph
    made: nn.Module = graph
    if trial.int8:
        made = fake_quantize_int8(
            graph, built.source.recipe.recipe.int8, record(graph, built.calibration.arrays).ranges
        )
    pictures, classes = tensors("test")
    right, logits = (TorchRuntime(one).run({"input": pictures.numpy()})["logits"] for one in (model, made))
    found = compare(right, logits, classes.numpy())
    assert found.top1 is not None
    return f"{found.relative_l2:.3f}", f"{found.top1_agreement:.1%}".rstrip("%"), f"{found.top1:.1%}".rstrip("%")


def make_table(rows: list[tuple[str, ...]], steps: int) -> str:
    """Return the rows as Markdown, and how they were measured."""
    lines = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD), *(f"| {' | '.join(row)} |" for row in rows)]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "scikit-learn"))
    made = f"By `benchmarks/recover.py` on {datetime.date.today()}: {processor()}, {os.cpu_count()} cores, one thread,"
    how = f"{steps} steps of {Training().batch} pictures. int8 is a simulation. One picture of 360 is 0.3 %."
    return "\n".join([*lines, "", how, "", made, f"Python {platform.python_version()}, {versions}."])


def main() -> None:
    """Measure, print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--only", default="", help="trials that have this word in their name")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "digits.npz"
        np.savez(pictures, input=tensors("train")[0].numpy())
        for trial in TRIALS:
            if options.only in f"{trial.network} {trial.label}":
                print(f"{trial.network}: {trial.label}", flush=True)
                rows.append(measure(trial, options.steps, pictures))
                print(" | ".join(rows[-1]), flush=True)
    table = make_table(rows, options.steps)
    print(table)
    if options.write:
        before, rest = DOCS.read_text().split(BEGIN)
        DOCS.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.split(END, 1)[1]}")


if __name__ == "__main__":
    main()
