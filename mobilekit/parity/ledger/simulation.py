"""The models' part of the ledger: what both give in PyTorch, and what each format does to them. It needs no file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn
from torch.fx import GraphModule

from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.artifacts.runtime import Arrays
from mobilekit.parity.ledger.format_error import Ranges, in_float64, measure_format_errors, run_formats
from mobilekit.parity.ledger.result import FormatError
from mobilekit.recipes.inputs.builtin import Evaluation
from mobilekit.recipes.schema import Recipe
from mobilekit.store.stages import InputSet, Stage


@dataclass(frozen=True)
class Simulation:
    """What the models give, and what formats do to that."""

    outputs: Mapping[Stage, Mapping[InputSet, Arrays]]
    """Of `reference` and `rewritten`."""
    exact: Mapping[InputSet, Arrays]
    """What the reference gives in float64."""
    errors: Mapping[InputSet, Mapping[str, FormatError]]


def simulate(
    reference: nn.Module,
    rewritten: GraphModule,
    recipe: Recipe,
    evaluation: Evaluation,
    random: Arrays,
    ranges: Ranges | None = None,
    exact: GraphModule | None = None,
    progress: Callable[[str], None] = lambda _stage: None,
) -> Simulation:
    """Run both models, and the rewritten one in each format.

    Args:
        reference: float32.
        rewritten: float32.
        recipe: What it says of int8 and of outputs counts.
        evaluation: Real inputs.
        random: Random inputs, float32 (N, ...) by name.
        ranges: Of the rewritten model's steps on the calibration inputs, where they are known.
        exact: The reference's graph in float64; it is made without.
        progress: Is told each stage.
    """
    inputs = {InputSet.REAL: evaluation.inputs, InputSet.RANDOM: random}
    outputs: dict[Stage, dict[InputSet, Arrays]] = {}
    for stage, model in ((Stage.REFERENCE, reference), (Stage.REWRITTEN, rewritten)):
        progress(stage)
        outputs[stage] = {kind: TorchRuntime(model).run(arrays) for kind, arrays in inputs.items()}
    progress("errors of the formats")
    exactly = TorchRuntime(exact) if exact is not None else in_float64(reference, evaluation.inputs)
    truth = {kind: exactly.run(arrays) for kind, arrays in inputs.items()}
    formats = run_formats(rewritten, inputs, recipe.int8, ranges, recipe.number_formats)
    errors = {
        kind: measure_format_errors(
            reference,
            rewritten,
            arrays,
            outputs[Stage.REFERENCE][kind],
            outputs[Stage.REWRITTEN][kind],
            recipe.int8,
            ranges,
            exact=truth[kind],
            by_format=formats[kind],
            labels=evaluation.labels if kind is InputSet.REAL else None,
            top_k=recipe.top_k,
        )
        for kind, arrays in inputs.items()
    }
    return Simulation(outputs, truth, errors)
