"""What rewriting a model and proving it costs beside the float64 runs that proofs are made of.

    .venv/bin/python benchmarks/proof_cost.py [MODEL...] [--rounds 3]

Each step's proof is one run of the model on the proof's cases in float64, and all else of a step may take twice as
long: three times the steps, and one more for the model as it was. Processor time of one thread, both in turns; the
median ratio is held to that bound. Ends with 1 where it is above.
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
    """Print what a model's rewriting costs, and return whether it keeps to its limit."""
    loaded = recipe_for(name)
    inputs: Any = {key: torch.from_numpy(array) for key, array in calibration_inputs(loaded.recipe).items()}
    model = build_reference(find_model(name), {}, None, inputs).model
    graph = compute_in(trace(model, zeros(loaded.recipe.shapes)), torch.float64)
    pairs = [
        (
            seconds(lambda: rewrite(model, loaded, inputs)),
            seconds(lambda: outputs_of(graph, cases_for(loaded.recipe))),
        )
        for _ in range(rounds)
    ]
    limit = SHARE * (1 + len(loaded.recipe.rewrites))
    share = statistics.median(own / run for own, run in pairs)
    own = statistics.median(own for own, _ in pairs)
    print(f"{name:16s} {own:5.1f} s, {share:4.1f} runs of the proof's cases, at most {limit}")
    return share <= limit


def seconds(work: Callable[[], object]) -> float:
    """Return the processor seconds of a piece of work."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
