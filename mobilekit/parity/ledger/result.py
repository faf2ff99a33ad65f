"""The ledger as a result: what was measured at every stage, what it was held to, and what came of it.

The same types are measured, written to ledger.json, read back and shown. Nothing here needs torch.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, computed_field, model_validator

from mobilekit.parity.ranges.result import RangeLint
from mobilekit.rewrites.report import StepReport
from mobilekit.store.bundle import LEDGER, Bundle, read_part
from mobilekit.store.manifest import CalibrationSource, FailedStage
from mobilekit.store.notebook import ledger_line, ledger_table
from mobilekit.store.result import Figure, Result
from mobilekit.store.stages import Precision, Stage

HIGHER_IS_BETTER = ("cosine", "top1_agreement", "topk_agreement", "top1", "equal_labels")

MOST_RELATIVE_L2 = 0.5
"""A limit above this is none: outputs without any relation to the reference's, of the same size, are sqrt(2) of it off,
and such as miss half of each value are 0.5. A stage that has no other limit is unjudged. So is one of whose labels more
than this share may differ."""

Verdict = Literal["pass", "fail", "inconclusive"]
"""`inconclusive` where nothing failed, and a stage is unjudged."""


_OLD_EPS = "float64_ulps"  # the name of `max_error_eps` up to 0.1


def _todays_name(metric: object) -> object:
    return "max_error_eps" if metric == _OLD_EPS else metric


@dataclass(frozen=True)
class Metrics(Result):
    """The distance of a candidate's outputs from a reference's, over all inputs.

    Labels, integers and booleans, are counted: `mean_abs` and `relative_l2` are the share that differs, `max_abs` is 1
    where any does, and `cosine` is the smallest share of an input's that are equal.
    """

    max_abs: Figure
    """Largest absolute difference."""
    mean_abs: Figure
    """Mean absolute difference."""
    relative_l2: Figure
    """L2 norm of the difference over that of the reference."""
    cosine: Figure
    """Smallest cosine of an input's two outputs; of one number an input, that of all inputs' numbers."""
    psnr_db: Figure | None
    """20 log10(max |reference| / root mean square difference); None where there is no difference."""
    top1_agreement: Figure
    """Share of inputs whose largest output is the same one."""
    top1: Figure | None = None
    """Share of inputs whose largest output is the label's, where there are labels."""
    finite: bool = True
    """Whether every output of the candidate is a finite number."""
    top_k: int | None = None
    """k of top-k; None where the outputs are no (N, classes), or have few classes."""
    topk_agreement: Figure | None = None
    """Share of the reference's first k classes that are among the candidate's first k."""
    max_error_eps: Annotated[Figure | None, Field(validation_alias=AliasChoices("max_error_eps", _OLD_EPS))] = None
    """Largest error in float32 roundings of the largest output: the distance from the reference's float64 run, in units
    of 2^-24 of its largest output; of float32 stages against the reference."""

    equal_labels: Figure | None = None
    """Share of labels that are the reference's; None of outputs that are quantities."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def float64_ulps(self) -> Figure | None:
        """What `max_error_eps` was called up to 0.1; it goes with the next version."""
        return self.max_error_eps


@dataclass(frozen=True)
class Bound(Result):
    """One metric's limit and where it comes from."""

    metric: Annotated[str, BeforeValidator(_todays_name)]
    limit: Figure
    derivation: str
    advice: str = ""
    """What to do where it does not hold."""
    reason: str = ""
    """Why the recipe may be less strict than what is derived."""

    @property
    def is_lax(self) -> bool:
        """Whether it is too large to say anything."""
        allowed = 1 - self.limit if self.metric == "equal_labels" else self.limit
        return self.metric in ("relative_l2", "equal_labels") and not allowed <= MOST_RELATIVE_L2

    def judge(self, metrics: Metrics) -> JudgedBound:
        """Hold metrics to the limit; a figure that is not a number is beyond it."""
        value = getattr(metrics, self.metric)
        return JudgedBound(**vars(self), value=value, holds=is_within(self.metric, value, self.limit))


@dataclass(frozen=True, kw_only=True)
class JudgedBound(Bound):
    """A limit, and what came of it."""

    value: Figure
    """What was measured."""
    holds: bool


def is_within(metric: str, value: float, limit: float) -> bool:
    """Return whether a metric's figure is within a limit; one that is not a number is not."""
    return value >= limit if metric in HIGHER_IS_BETTER else value <= limit


def verdict_of(limits: Iterable[JudgedBound]) -> Verdict:
    """Return what limits say together: one that is too large to say anything can be missed, and not be held."""
    judged = list(limits)
    if not all(limit.holds for limit in judged):
        return "fail"
    return "inconclusive" if any(limit.is_lax for limit in judged) else "pass"


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict on several things, that of the worst of them."""
    order: tuple[Verdict, ...] = ("pass", "inconclusive", "fail")
    return max(verdicts, key=order.index, default="pass")


@dataclass(frozen=True)
class BrokenInvariant(Result):
    """One invariant that a stage's outputs do not keep."""

    invariant: str
    """`finite`, `probabilities`, `constant`, `dead`, `levels`, `noise` or `saturated`."""
    text: str
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class Row(Metrics):
    """One comparison: a stage against the one it was made from, or the reference. Its metrics are on real inputs."""

    stage: Annotated[Stage | str, Field(union_mode="left_to_right")]
    """Or the name of a file that was made elsewhere."""
    against: Stage
    output: str
    """Which of the model's outputs."""
    verdict: Verdict
    limits: tuple[JudgedBound, ...]
    """What the metrics on real inputs are held to."""
    findings: tuple[BrokenInvariant, ...] = ()
    """Invariants that the stage's outputs break."""
    random: Metrics
    """On standard normal inputs."""
    random_limits: tuple[JudgedBound, ...] = ()
    """What those are held to; none of a quantized stage, as they lie outside the ranges that it was calibrated for."""

    @property
    def place(self) -> str:
        """Which comparison it is, in words."""
        return f"{self.stage} against {self.against} ({self.output})"

    @property
    def has_labels(self) -> bool:
        """Whether the output has labels, which are counted."""
        return self.equal_labels is not None

    @property
    def is_total(self) -> bool:
        """Whether it is against the reference, and so has all that was lost up to here."""
        return self.against is Stage.REFERENCE

    @property
    def metrics(self) -> Metrics:
        """The metrics on real inputs, which are the row's own."""
        return self

    @model_validator(mode="before")
    @classmethod
    def _judge_limits_of_0_1(cls, content: Any) -> Any:
        """Limits of ledgers up to 0.1 have only what they are."""
        if not isinstance(content, dict) or not isinstance(content.get("limits"), list | tuple):
            return content
        return {**content, "limits": [_judged(limit, content) for limit in content["limits"]]}


def _judged(limit: Any, metrics: Mapping[str, Any]) -> Any:
    if not isinstance(limit, dict) or "holds" in limit:
        return limit
    value, most = metrics.get(str(limit.get("metric"))), limit.get("limit")
    if not isinstance(value, int | float) or not isinstance(most, int | float):
        return {**limit, "value": None, "holds": False}
    return {**limit, "value": value, "holds": is_within(limit["metric"], value, most)}


@dataclass(frozen=True)
class GateResult(Result):
    """One gate and what the artifact has."""

    artifact: str
    """File name."""
    gate: str
    """`max_partitions`, `forbid_ops`, `max_size_mb`, `max_top1_drop`, `whole`: how many ops are left or computed
    wrongly; `same-function`: how far a target's own file is from the one that it stands for, in relative L2; or
    `app-NAME`: the share of pictures that keep their class where that software scales them."""
    limit: float
    value: Figure
    verdict: Verdict
    why: str = ""
    """What makes the value, where it is beyond the limit."""
    target: str = ""
    """Whose compiler was asked, or whose own file it is; empty for XNNPACK."""


@dataclass(frozen=True, kw_only=True)
class AppRow(Metrics):
    """A file given the pictures as an app makes them, against the reference given them as the recipe says."""

    app: str
    """As `mobilekit diff --app` names it."""
    what: str
    """What the app does, in words."""
    is_mistake: bool
    """Whether it is one that nobody means to make."""
    file: str
    """Which file was given them; `reference` where there is none in float32."""
    output: str
    """Which of the model's outputs."""
    worst: str
    """The picture that suffers most."""
    worst_relative_l2: Figure
    """Its change."""

    @property
    def name(self) -> str:
        """What its row is called."""
        return f"app-{self.app}"


@dataclass(frozen=True)
class StableShare(Result):
    """How much of a classification a number format cannot change: what leads by more than it may shift the outputs."""

    top1: float
    """Share of inputs whose first class leads the second by more than the largest shift that the format can cause."""
    topk: float | None
    """Share of the first k places whose class leads the one in place k + 1 by more; None where there is no k."""
    top1_correct: Annotated[float | None, Field(alias="right")]
    """Share of inputs whose first class is stable and the label's; None without labels."""


@dataclass(frozen=True)
class FormatError(Result):
    """The error that each number format must make on one model and one set of inputs: that of rounding alone."""

    float32_max_abs: Figure
    """Largest difference between the model in float32 and in float64."""
    float32_relative_l2: Figure
    """Change of the outputs from float64 to float32."""
    scale: Figure
    """Largest absolute output."""
    float16_relative_l2: Figure
    """Change of the outputs when every weight is rounded to float16."""
    dynamic_relative_l2: Figure
    """Change when weights (per channel) and the inputs of linear layers (per tensor) are rounded to 8 bits."""
    int8_relative_l2: Figure
    """Change when weights (per channel) and every other tensor (per tensor) are rounded to 8 bits, in the ranges of the
    calibration."""
    int8_fitted_relative_l2: Figure
    """The same in ranges of these inputs' own: more calibration cannot do better."""
    stable: Annotated[Mapping[str, StableShare], Field(alias="certain")] = field(default_factory=dict)
    """What stays of the classification in each format that was simulated (float32, float16, ...); nothing for other
    outputs."""
    float32_orders_max_abs: Figure = 0.0
    """Largest difference from float64 of the model in float32 with its sums added one term after the other, in some
    orders; 0 where that was not measured."""
    float32_orders_relative_l2: Figure = 0.0
    """Largest change of the outputs from float64 to that."""
    float16_arithmetic_relative_l2: Figure = 0.0
    """Change of the outputs when every value and every sum is rounded to float16 besides, as a GPU does; 0 where that
    was not measured."""
    int16x8_relative_l2: Figure = 0.0
    """Change when weights (per channel) are rounded to 8 bits and every other tensor (per tensor) to 16, in twice the
    ranges of the calibration; 0 where that was not measured."""
    labels: int | None = None
    """How many labels the output has on these inputs, where it has integers or booleans: each change of the outputs is
    then the share of them that changes. None of quantities."""

    def relative_l2(self, precision: Precision) -> float:
        """Return the change of the outputs in a format."""
        changes: dict[Precision, float] = {
            "float32": self.float32_relative_l2,
            "float16": self.float16_relative_l2,
            "dynamic": self.dynamic_relative_l2,
            "int8": self.int8_relative_l2,
            "int16x8": self.int16x8_relative_l2,
        }
        return changes[precision]


@dataclass(frozen=True)
class MeasuredOn(Result):
    """The inputs of a ledger."""

    real: str
    """What they are, or where they are from."""
    count: int
    is_own: bool = False
    """Whether the user brought them."""
    labels: tuple[str, ...] = ()
    """Names of the classes by their numbers, where the inputs have labels with names."""


@dataclass(frozen=True)
class ArtifactSummary(Result):
    """What a file that was measured is made of."""

    size_bytes: int
    ops: Mapping[str, int]
    """Count of each kind."""
    partitions: int | None = None
    """XNNPACK's; None of an ONNX file."""


@dataclass(frozen=True)
class NotRun(Result):
    """A stage whose file is there, and that this machine does not run: nothing is known of its outputs."""

    stage: Stage
    reason: str
    """To follow a colon, without a full stop."""


@dataclass(frozen=True, repr=False)
class Ledger(Result):
    """All comparisons of one export, and what they were made on."""

    inputs: MeasuredOn
    format_errors: Annotated[Mapping[str, FormatError], Field(alias="noise")]
    """What the formats do to each output, on the real inputs."""
    rows: Annotated[tuple[Row, ...], Field(alias="stages", min_length=1)]
    steps: Annotated[tuple[StepReport, ...], Field(alias="rewrites")] = ()
    gates: tuple[GateResult, ...] = ()
    artifacts: Mapping[str, ArtifactSummary] = field(default_factory=dict)
    """The files that were measured, by their names."""
    reference_top1: float | None = None
    """The reference's own top-1, where the inputs have labels."""
    inputs_sha256: str | None = None
    """SHA-256 of the real inputs' bytes."""
    ranges: RangeLint | None = None
    """What the activations warn of, in the ledger of an export."""
    failed_stages: tuple[FailedStage, ...] = ()
    """Stages that could not be made, opened or run, and were left out."""
    assumed: tuple[str, ...] = ()
    """What nobody said of a model that is not mobilekit's own, such as `size` or `calibration`: as in `given` of the
    manifest."""
    calibration: CalibrationSource | None = None
    """What int8 is calibrated on, where there is such a file."""
    notes: tuple[str, ...] = ()
    """What is doubtful about the inputs, a sentence each."""
    doubt: str = ""
    """Why the reference itself is doubted, as one that is right no more often than guessing is; no full stop."""
    apps: tuple[AppRow, ...] = ()
    """What comes of the pictures where apps make the inputs; none where that was not asked."""
    not_run: tuple[NotRun, ...] = ()
    """Stages that this machine does not run."""

    def __repr__(self) -> str:
        return f"<Ledger: {ledger_line(self.to_json())}>"

    def _repr_markdown_(self) -> str:
        """Return what a notebook shows."""
        return f"{html.escape(repr(self))}\n\n{ledger_table(self.to_json())}"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> Verdict:
        """`fail` if a row or gate fails or a stage is left out, else `inconclusive` if one is doubted or not run."""
        verdicts = [row.verdict for row in self.rows] + [gate.verdict for gate in self.gates]
        doubted: list[Verdict] = ["inconclusive"] if self.doubt or self.not_run else []
        return "fail" if self.failed_stages else worst([*verdicts, *doubted])

    @property
    def totals(self) -> dict[tuple[str, str], Row]:
        """The comparisons with the reference, by stage and output."""
        return {(row.stage, row.output): row for row in self.rows if row.is_total}

    @property
    def steps_from_before(self) -> dict[tuple[str, str], Row]:
        """The comparisons with the stage that each was made from, by stage and output."""
        return {(row.stage, row.output): row for row in self.rows}  # the stage before comes second

    def to_json(self) -> dict[str, Any]:
        """Return the ledger as JSON data, without `ranges`, `apps` and `not_run` where there are none."""
        content = super().to_json()
        absent = {name for name in ("ranges", "apps", "not_run") if not getattr(self, name)}
        return {name: value for name, value in content.items() if name not in absent}


def ledger_of(bundle: Bundle) -> Ledger:
    """Return the ledger that was written at a bundle's export.

    Raises:
        UsageError: It is missing or damaged.
    """
    ledger: Ledger = read_part(bundle.path / LEDGER, Ledger)
    return ledger
