"""What each approximate rewrite costs the trained digits model, before and after a short fine-tuning.

    python -m benchmarks.rewrites_accuracy [--epochs 5] [--only WORD] [--write]

Each rewrite of the catalogue that is not exact is applied alone, and those of the trained model together too, to the
small GhostNetV2 with its trained weights. The rewritten module is then trained for a few epochs on the 1437 training
images, as `mobilekit.rewrite` hands it out, and so is the model itself, for comparison. Accuracy is on the 360 test
images. A rewrite of something that the model does not have is measured on a variant that does, which is trained on
from the same weights first. One thread, fixed seeds. `--write` puts the table into docs/rewrites.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Literal, get_args, get_origin

import torch
from torch import nn

from benchmarks.export_cost import processor
from benchmarks.train_digits import SEED, tensors, train
from mobilekit.api import load_model
from mobilekit.models.dfc import SharedFullyConnected
from mobilekit.models.registry import find_model
from mobilekit.recipes.inputs.builtin import calibration_inputs
from mobilekit.recipes.load import LoadedRecipe, recipe_for
from mobilekit.recipes.schema import RewriteStep
from mobilekit.rewrites.base import Exactness
from mobilekit.rewrites.catalogue import REWRITES
from mobilekit.rewrites.drift import Drift, drift_between
from mobilekit.rewrites.engine import rewrite

MODEL = "ghostnetv2_digits"
DOCS = Path(__file__).parents[1] / "docs" / "rewrites.md"
BEGIN, END = "<!-- benchmarks/rewrites_accuracy.py -->", "<!-- end -->"
FIXED: dict[str, dict[str, object]] = {"dfc-dense": {"kernel_size": 3}}
"""Options that are not the defaults: the trained maps have 5 taps, and as many fit them exactly."""
PEAK = 1e-3
"""Largest learning rate of the fine-tuning, a quarter of the training's."""
VARIANT_EPOCHS = 15
HEAD = ("rewrite", "sites", "drift", "same", "top-1", "tuned: drift", "tuned: same", "tuned: top-1")


@dataclass(frozen=True)
class Trial:
    """Rewrites that are applied together to one variant of the model."""

    variant: str
    label: str
    steps: tuple[RewriteStep, ...] = ()


@dataclass(frozen=True)
class Result:
    """One row of the table."""

    sites: int
    before: tuple[Drift, float]
    """Change of the logits from the variant's own on the test images, and top-1."""
    after: tuple[Drift, float]
    """The same after the fine-tuning."""


def dense_maps() -> nn.Module:
    """Return the trained model with its DFC maps as the full matrices that they are."""
    model = load_model(MODEL)
    full = find_model(MODEL).create(weights="dense", input_size=recipe_for(MODEL).recipe.input.size)
    state = model.state_dict()
    for path, module in model.named_modules():
        if isinstance(module, SharedFullyConnected):
            length = full.get_parameter(f"{path}.weight").shape[-1]
            state[f"{path}.weight"] = module.matrix(length).detach()
    full.load_state_dict(state)
    return full


def with_activation(kind: type[nn.Module]) -> nn.Module:
    """Return the trained model with another activation in each ReLU's place, trained on."""
    model = load_model(MODEL)
    for path in [path for path, module in model.named_modules() if isinstance(module, nn.ReLU)]:
        model.set_submodule(path, kind())
    return trained_on(model)


def trained_on(model: nn.Module) -> nn.Module:
    """Train a variant until it fits its weights."""
    torch.manual_seed(SEED)
    train(model, *tensors("train"), VARIANT_EPOCHS)
    return model


AS_TRAINED, DENSE_MAPS = "", "dense maps"
VARIANTS: dict[str, Callable[[], nn.Module]] = {
    AS_TRAINED: lambda: load_model(MODEL),
    DENSE_MAPS: dense_maps,
    "bilinear gates": lambda: trained_on(load_model(MODEL, upsample="bilinear")),
    "max pools": lambda: trained_on(load_model(MODEL, pool="max")),
    "SiLU for ReLU": lambda: with_activation(nn.SiLU),
    "GELU for ReLU": lambda: with_activation(nn.GELU),
    "log-softmax head": lambda: nn.Sequential(load_model(MODEL), nn.LogSoftmax(1)).eval(),
}


@cache
def variant(name: str) -> nn.Module:
    """Return one variant in evaluation mode; callers leave it as it is."""
    return VARIANTS[name]()


def trials() -> tuple[list[Trial], list[str]]:
    """Return what to measure, grouped by variant, and the rewrites that no variant has a site for."""
    found: dict[str, list[RewriteStep]] = {name: [] for name in VARIANTS}
    nowhere = []
    for name, kind in REWRITES.items():
        if kind.exactness.is_proved:
            continue
        homes = [(next((place for place in VARIANTS if _sites(place, step)), None), step) for step in _steps(name)]
        for home, step in homes:
            if home is not None:
                found[home].append(step)
        if not any(home is not None for home, _ in homes):
            nowhere.append(f"`{name}`")
    planned = []
    for place, steps in found.items():
        if steps:
            planned.append(Trial(place, "none"))
            planned += [Trial(place, _label(step), (step,)) for step in steps]
        if place == DENSE_MAPS:  # the same function as trained, so whatever has sites there has them here
            planned += [Trial(place, label, (steps[-1], *some)) for label, some in _together(found[AS_TRAINED])]
    return planned, nowhere


def _steps(name: str) -> list[RewriteStep]:
    """Return a step for each choice among the rewrite's options."""
    fields = REWRITES[name].options_type.model_fields
    choices = {
        key: get_args(field.annotation) for key, field in fields.items() if get_origin(field.annotation) is Literal
    }
    options = [dict(zip(choices, chosen, strict=True)) for chosen in product(*choices.values())]
    return [RewriteStep(name=name, options={**FIXED.get(name, {}), **chosen}, allow=True) for chosen in options]


def _together(steps: list[RewriteStep]) -> list[tuple[str, list[RewriteStep]]]:
    """Return what to apply together with the dense maps' last fit."""
    near = [step for step in steps if REWRITES[step.name].exactness is Exactness.APPROXIMATE]
    rows = [("the last and all approximate ones above", near)]
    return rows if near == steps else [*rows, ("the last and all above", steps)]


def _label(step: RewriteStep) -> str:
    options = "".join(f", {key.replace('_', ' ')} {value}" for key, value in step.options.items())
    needs = REWRITES[step.name].exactness is Exactness.NEEDS_RETRAINING
    return f"`{step.name}`{options}{' (needs retraining)' if needs else ''}"


def _recipe(steps: tuple[RewriteStep, ...]) -> LoadedRecipe:
    loaded = recipe_for(MODEL)
    return replace(loaded, recipe=loaded.recipe.model_copy(update={"rewrites": steps}), lines={})


def _sites(place: str, step: RewriteStep) -> int:
    [report] = rewrite(variant(place), _recipe((step,)), prove=False).steps
    return len(report.applied)


def measure(trial: Trial, epochs: int) -> Result:
    """Apply, test, tune and test again."""
    model, loaded = variant(trial.variant), _recipe(trial.steps)
    calibration = {name: torch.from_numpy(array) for name, array in calibration_inputs(loaded.recipe).items()}
    done = rewrite(model, loaded, calibration, enforce_limits=False)
    inputs, labels = tensors("test")

    def test() -> tuple[Drift, float]:
        with torch.no_grad():
            truth, logits = model(inputs), done.graph(inputs)
        return drift_between({"logits": truth}, {"logits": logits}), (logits.argmax(1) == labels).double().mean().item()

    before = test()
    torch.manual_seed(SEED)
    train(done.graph, *tensors("train"), epochs, PEAK)
    return Result(sum(len(step.applied) for step in done.steps), before, test())


def make_table(results: list[tuple[Trial, Result]], nowhere: list[str], epochs: int) -> str:
    """Return the rows as Markdown, and how they were measured."""
    lines = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    for trial, result in results:
        place = f"**{trial.variant}**: " if trial.variant and not trial.steps else ""
        cells = [f"{place}{trial.label}", str(result.sites) if result.sites else "-"]
        for drift, top1 in (result.before, result.after):
            cells += [f"{drift.relative_l2:.3f}", f"{drift.top1_agreement:.1%}", f"{top1:.1%}"]
        lines.append(f"| {' | '.join(cells)} |")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "scikit-learn"))
    return "\n".join(
        [
            *lines,
            "",
            *([f"Without a site in any of them: {', '.join(nowhere)}.", ""] if nowhere else []),
            f"Tuned: {epochs} epochs, learning rate up to {PEAK:g}. Variants other than dense maps were trained on for",
            f"{VARIANT_EPOCHS} epochs before. One image of 360 is 0.3 %.",
            "",
            f"By `benchmarks/rewrites_accuracy.py` on {datetime.date.today()}: {processor()}, {os.cpu_count()} cores,",
            f"one thread, Python {platform.python_version()}, {versions}.",
        ]
    )


def main() -> None:
    """Measure, print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--only", default="", help="rewrites that have this word in their name")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    planned, nowhere = trials()
    results = []
    for trial in planned:
        if options.only in trial.label or options.only == trial.variant:
            print(f"{trial.variant} {trial.label}", flush=True)
            results.append((trial, measure(trial, options.epochs)))
    table = make_table(results, nowhere, options.epochs)
    print(table)
    if options.write:
        before, rest = DOCS.read_text().split(BEGIN)
        DOCS.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.split(END, 1)[1]}")


if __name__ == "__main__":
    main()
