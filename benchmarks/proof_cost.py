"""What it costs to capture a model, to rewrite it and to prove that, beside the float64 runs that proofs are made of.

    .venv/bin/python -m benchmarks.proof_cost [MODEL...] [--rounds 3]

Each step's proof is one run of the model on the proof's cases in float64, and all else of a step may take twice as
long: three times the steps, and one more for the model as it was. The capture is apart: torch.export's time is its own.
Processor time of one thread, all in turns; the median ratio is held to that bound, and ghostnetv2, with its capture, to
12 s. Ends with 1 where a bound is passed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from mobilekit.models.build import build_reference
from mobilekit.models.inputs import zeros
from mobilekit.models.registry import find_model
from mobilekit.recipes.inputs.builtin import calibration_inputs
from mobilekit.recipes.load import recipe_for
from mobilekit.rewrites.engine import rewrite
from mobilekit.rewrites.fx.graph import trace
from mobilekit.rewrites.fx.precision import compute_in
from mobilekit.rewrites.proof import cases_for, outputs_of

MODELS = ["ghostnetv2", "efficientvit_b1", "shufflenet"]
SHARE = 3
SECONDS = {"ghostnetv2": 12}


def main() -> None:
    """Measure, print, and end with 1 where a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    fine = [measure(model, options.rounds) for model in options.models]
    sys.exit(not all(fine))


def measure(name: str, rounds: int) -> bool:
    """Print what a model's rewriting costs, and return whether it keeps to its limits."""
    loaded = recipe_for(name)
    inputs: Any = {key: torch.from_numpy(array) for key, array in calibration_inputs(loaded.recipe).items()}
    model = build_reference(find_model(name), {}, None, inputs).model
    shapes = zeros(loaded.recipe.shapes)
    graph = compute_in(trace(model, shapes), torch.float64)
    rows = [
        (
            seconds(lambda: rewrite(model, loaded, inputs)),
            seconds(lambda: trace(model, shapes)),
            seconds(lambda: outputs_of(graph, cases_for(loaded.recipe))),
        )
        for _ in range(rounds)
    ]
    limit = SHARE * (1 + len(loaded.recipe.rewrites))
    share = statistics.median((own - capture) / run for own, capture, run in rows)
    own, capture, _run = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"{name:16s} {own:5.1f} s, of it {capture:.1f} s capture; the rest {share:4.1f} runs of {limit} at most")
    return share <= limit and own <= SECONDS.get(name, own)


def seconds(work: Callable[[], object]) -> float:
    """Return the processor seconds of a piece of work."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
