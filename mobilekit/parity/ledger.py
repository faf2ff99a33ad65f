"""The drift ledger: which stage lost how much, against the stage before it (blame) and the reference (total)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from numpy.typing import NDArray
from torch.fx import GraphModule

from mobilekit.inputs.builtin import Evaluation
from mobilekit.inputs.preprocess import digest_of
from mobilekit.parity.device_limits import device_bounds, is_device, source_of
from mobilekit.parity.limits import Bound, bounds_for
from mobilekit.parity.metrics import Floats, Metrics, compare, plain_figures
from mobilekit.parity.noise import Noise, Ranges, measure_noise
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.engine import StepReport
from mobilekit.runtimes.base import Arrays, Runtime
from mobilekit.runtimes.pytorch import TorchRuntime

REFERENCE = "reference"
# Each stage and the one that it was made from: the quantised files all come from the same float graph.
MADE_FROM = {
    "rewritten": REFERENCE,
    "onnx": "rewritten",
    "onnx-simplified": "onnx",
    "tflite-float32": "onnx-simplified",
    "tflite-float16": "tflite-float32",
    "tflite-dynamic": "tflite-float32",
    "tflite-int8": "tflite-float32",
}
QUANTISED = ("tflite-dynamic", "tflite-int8", "device-dynamic", "device-int8")

Opener = Callable[[], Runtime]


@dataclass(frozen=True)
class Row:
    """One comparison: a stage against the one it was made from, or against the reference."""

    stage: str
    against: str
    metrics: Metrics
    random: Metrics
    """The same on standard normal inputs."""
    output: str
    """Which of the model's outputs."""
    bounds: tuple[Bound, ...]
    verdict: str

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON data, the metrics on real inputs at its top."""
        return {
            "stage": self.stage,
            "against": self.against,
            "output": self.output,
            **self.metrics.to_json(),
            "verdict": self.verdict,
            "limits": [plain_figures(asdict(bound)) for bound in self.bounds],
            "random": self.random.to_json(),
        }


@dataclass(frozen=True)
class Ledger:
    """All comparisons of one export, and what they were made on."""

    evaluation: str
    count: int
    noise: Mapping[str, Noise]
    """What the formats do to each output, on the real inputs."""
    rows: tuple[Row, ...]
    steps: tuple[StepReport, ...] = ()
    reference_top1: float | None = None
    """The reference's own top-1, where the inputs have labels."""
    inputs_sha256: str = ""
    """SHA-256 of the real inputs' bytes."""
    artifacts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Ops and size of each file that was measured, by its name."""

    @property
    def verdict(self) -> str:
        """`pass` if every row passes, else `fail`."""
        return "pass" if all(row.verdict == "pass" for row in self.rows) else "fail"

    def to_json(self) -> dict[str, Any]:
        """Return the ledger as JSON data."""
        return {
            "verdict": self.verdict,
            "inputs": {"real": self.evaluation, "count": self.count},
            "inputs_sha256": self.inputs_sha256,
            "noise": {name: plain_figures(asdict(noise)) for name, noise in self.noise.items()},
            "reference_top1": self.reference_top1,
            "rewrites": [step.to_json() for step in self.steps],
            "stages": [row.to_json() for row in self.rows],
            "artifacts": {name: dict(artifact) for name, artifact in self.artifacts.items()},
        }


def measure(
    stages: Mapping[str, Opener],
    recipe: Recipe,
    evaluation: Evaluation,
    random: Arrays,
    steps: Iterable[StepReport] = (),
    progress: Callable[[str], None] = lambda _stage: None,
    ranges: Ranges | None = None,
    is_trained: bool = True,
) -> Ledger:
    """Run every stage on the same inputs and compare.

    Args:
        stages: What opens each stage, in the order of the conversion; `reference` and `rewritten` are PyTorch.
        recipe: Its limits and rewrites count.
        evaluation: Real inputs. Float stages are held to their limits on these and on `random`; quantised ones on
            these alone, as noise lies outside the ranges that they were calibrated for.
        random: Random inputs, float32 (N, ...) by name.
        steps: What the rewrites did.
        progress: Is told each stage.
        ranges: Of the rewritten model's steps on the calibration inputs, where they are known.
        is_trained: Whether the model has weights that mean something.

    Raises:
        ToolError: An artifact cannot be opened or run.
    """
    outputs: dict[str, tuple[Arrays, Arrays]] = {}
    models: dict[str, TorchRuntime] = {}
    for stage, opener in stages.items():
        progress(stage)
        runtime = opener()
        if isinstance(runtime, TorchRuntime):
            models[stage] = runtime
        outputs[stage] = (runtime.run(evaluation.inputs), runtime.run(random))
    progress("noise of the formats")
    reference, rewritten = models[REFERENCE].model, models["rewritten"].model
    assert isinstance(rewritten, GraphModule)
    noises = tuple(
        measure_noise(reference, rewritten, inputs, before, after, recipe.int8.keep_float, ranges)
        for inputs, before, after in zip(
            (evaluation.inputs, random), outputs[REFERENCE], outputs["rewritten"], strict=True
        )
    )
    is_other = any(step.is_other_function for step in steps)
    drift = None if is_other else sum(step.max_drift or 0.0 for step in steps)
    rows = []
    for stage in stages:
        for against in dict.fromkeys((REFERENCE, _made_from(stage, stages))) if stage != REFERENCE else ():
            own_drift = drift if against == REFERENCE else 0.0
            source = source_of(stage)
            override = recipe.limits.get(source)  # type: ignore[call-overload]
            for name in outputs[REFERENCE][0]:
                pairs = [(outputs[against][kind][name], outputs[stage][kind][name]) for kind in (0, 1)]
                if is_device(stage) and against != REFERENCE:
                    bounds = [device_bounds(stage, noise[name]) for noise in noises]
                else:
                    bounds = [bounds_for(source, noise[name], own_drift, override, is_trained) for noise in noises]
                rows.append(_row(stage, against, name, pairs, bounds, evaluation.labels))
    truth = next(iter(outputs[REFERENCE][0].values()))
    top1 = compare(truth, truth, evaluation.labels).top1
    digest = digest_of(evaluation.inputs)
    return Ledger(evaluation.name, evaluation.count, noises[0], tuple(rows), tuple(steps), top1, digest)


def _made_from(stage: str, stages: Iterable[str]) -> str:
    """Return what the stage was made from; where that is not among `stages`, what that was made from, and so on."""
    source = source_of(stage) if is_device(stage) else MADE_FROM[stage]
    return source if source in stages else _made_from(source, stages)


def _row(
    stage: str,
    against: str,
    output: str,
    pairs: Sequence[tuple[Floats, Floats]],
    bounds: Sequence[tuple[Bound, ...]],
    labels: NDArray[Any] | None,
) -> Row:
    """Compare one output, on the real inputs (first of `pairs` and `bounds`) and on the random ones."""
    real, random = compare(*pairs[0], labels), compare(*pairs[1])
    passed = real.finite and random.finite and all(bound.holds(real) for bound in bounds[0])
    if stage not in QUANTISED:
        passed = passed and all(bound.holds(random) for bound in bounds[1])
    return Row(stage, against, real, random, output, bounds[0], "pass" if passed else "fail")
