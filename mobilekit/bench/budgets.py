"""What artifacts may cost on a device, and whether they keep to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mobilekit.bench.statistics import CONFIDENCE, Latency
from mobilekit.bench.verdicts import BudgetVerdict
from mobilekit.errors import UsageError
from mobilekit.recipes import yaml_positions
from mobilekit.recipes.faults import faults_of, read_document

LimitName = Literal["latency_ms", "memory_mb", "size_mb", "instructions"]
LIMITS: tuple[LimitName, ...] = get_args(LimitName)
_Verdict = Literal["pass", "fail", "inconclusive"]
_Limit = Annotated[float, Field(gt=0, strict=True)] | None
_HINT = (
    "A budget reads: {device: 'Pixel*', file: '*', precision: int8, latency_ms: 12, memory_mb: 60, size_mb: 8}\n"
    "or {device: Cortex-A55, file: '*', instructions: 95_000_000, kind: pointwise}"
)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Budget(_Part):
    """Limits for what matches all of its patterns, which have `*`, `?` and `[...]` as in a shell."""

    device: str = Field("*", description="Pattern of the device's model.")
    file: str = Field("*", description="Pattern of the artifact's name: `ghostnetv2/model.int8.tflite`.")
    precision: str = Field("*", description="Pattern of its precision.")
    latency_ms: _Limit = Field(None, description="Largest median latency.")
    memory_mb: _Limit = Field(None, description="Largest memory in MiB, as the bench reports it.")
    size_mb: _Limit = Field(None, description="Largest file, in units of 10^6 bytes.")
    instructions: _Limit = Field(None, description="Most instructions of an inference on a counted core.")
    kind: str | None = Field(None, description="The kind of work that `instructions` limits, such as pointwise.")
    module: str | None = Field(None, description="The module that `instructions` limits, such as blocks.3.")

    @model_validator(mode="after")
    def _limits_something(self) -> Budget:
        if all(getattr(self, name) is None for name in LIMITS):
            raise ValueError(f"it limits nothing: give {', '.join(LIMITS[:-1])} or {LIMITS[-1]}")
        if (self.kind or self.module) and self.instructions is None:
            raise ValueError("kind and module are for instructions: give these")
        if self.kind and self.module:
            raise ValueError("it has a kind and a module: give each a budget of its own")
        return self

    def covers(self, cost: FileCost, device: str) -> bool:
        """Whether the budget is meant for this artifact on a device of this model."""
        pairs = ((device, self.device), (cost.file, self.file), (cost.precision, self.precision))
        return all(fnmatchcase(name, pattern) for name, pattern in pairs)

    @property
    def part(self) -> str | None:
        """What of the artifact the limit on instructions is on; None for all of it."""
        return f"kind {self.kind}" if self.kind else f"module {self.module}" if self.module else None


class Budgets(_Part):
    """A file of budgets."""

    budgets: tuple[Budget, ...]


@dataclass(frozen=True)
class FileCost:
    """What one artifact costs on a device. None: it was not measured."""

    file: str
    precision: str
    latency: Latency | None = None
    memory_mb: float | None = None
    size_mb: float | None = None
    instructions: int | None = None
    kinds: Mapping[str, int] = field(default_factory=dict)
    """Instructions by the kind of work."""
    modules: Mapping[str, int] = field(default_factory=dict)
    """Instructions by module."""


def load_budgets(path: Path) -> tuple[Budget, ...]:
    """Read a YAML file of budgets.

    Raises:
        UsageError: There is none, or it is wrong; the message names file, line and nearest key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read {path}: {error}.", "Budgets are a YAML file in UTF-8.") from error
    return parse_budgets(text, str(path))


def parse_budgets(text: str, source: str) -> tuple[Budget, ...]:
    """Check the text of a file of budgets; errors name `source`, the line and the nearest key."""
    data, lines = read_document(text, source)

    def where(place: yaml_positions.Path) -> str:
        return f"{source}:{yaml_positions.line_of(lines, place)}"

    try:
        return Budgets.model_validate(data).budgets
    except ValidationError as error:
        raise UsageError("\n".join(faults_of(error, where, Budgets, whole="the file")), _HINT) from error


def check(budgets: Iterable[Budget], cost: FileCost, device: str) -> list[BudgetVerdict]:
    """Hold one artifact to every budget that covers it.

    A latency fails where its interval lies wholly above the limit and passes where it lies wholly at or below;
    between these, or with too few rounds for a 95 % interval, the bench cannot tell. Memory and size are single
    figures.

    Args:
        budgets: All there are.
        cost: What the artifact costs.
        device: The device's model.
    """
    return [
        _check_one(name, limit, cost, device, budget)
        for budget in budgets
        if budget.covers(cost, device)
        for name in LIMITS
        if (limit := getattr(budget, name)) is not None
    ]


def hold(
    budgets: Sequence[Budget], costs: Sequence[FileCost], device: str
) -> tuple[tuple[BudgetVerdict, ...], tuple[str, ...]]:
    """Hold all artifacts to the budgets of a device; return the verdicts, and notes of budgets that gate nothing.

    Args:
        budgets: All there are.
        costs: What each artifact costs.
        device: The device's model.
    """
    idle = idle_budgets(budgets, costs, device)
    notes = [f"The budget for {each.file} ({each.precision}) on {each.device} covers no file." for each in idle]
    if budgets and not any(fnmatchcase(device, each.device) for each in budgets):
        notes.append(f"No budget is for {device}: they gate nothing here.")
    return tuple(verdict for cost in costs for verdict in check(budgets, cost, device)), tuple(notes)


def idle_budgets(budgets: Iterable[Budget], costs: Iterable[FileCost], device: str) -> list[Budget]:
    """Return the budgets meant for this device that cover no artifact: most likely a misspelled pattern."""
    artifacts = list(costs)
    return [
        budget
        for budget in budgets
        if fnmatchcase(device, budget.device) and not any(budget.covers(each, device) for each in artifacts)
    ]


def _check_one(name: LimitName, limit: float, cost: FileCost, device: str, budget: Budget) -> BudgetVerdict:
    latency = cost.latency
    figure = _figure(name, cost, budget)
    verdict: _Verdict
    if figure is None:
        verdict, why = "inconclusive", _why_unknown(name, cost, budget)
    elif name == "latency_ms" and latency:
        verdict, why = _check_latency(latency, limit)
    else:
        verdict, why = ("pass", "at or below the limit") if figure <= limit else ("fail", "above the limit")
    part = budget.part if name == "instructions" else None
    return BudgetVerdict(cost.file, cost.precision, device, name, limit, figure, verdict, why, part)


def _figure(name: LimitName, cost: FileCost, budget: Budget) -> float | None:
    """Return what is held to a limit, None where it was not measured."""
    if name == "latency_ms":
        return cost.latency.median if cost.latency else None
    if name == "instructions" and cost.instructions is not None:
        if budget.kind:
            return cost.kinds.get(budget.kind)
        if budget.module:
            return cost.modules.get(budget.module)
    figure: float | None = getattr(cost, name)
    return figure


def _why_unknown(name: LimitName, cost: FileCost, budget: Budget) -> str:
    """Return why a budget has no figure, with what there is where it names a part that is not."""
    parts = cost.kinds if budget.kind else cost.modules
    if name != "instructions" or cost.instructions is None or budget.part is None:
        return "it was not measured"
    return f"the file has no {budget.part}; it has {', '.join(parts)}"


def _check_latency(latency: Latency, limit: float) -> tuple[_Verdict, str]:
    interval = f"the interval of the median, {latency.low:.4g} to {latency.high:.4g} ms,"
    if latency.confidence < CONFIDENCE:
        return "inconclusive", f"{latency.rounds} rounds have no 95 % interval: run more"
    if latency.low > limit:
        return "fail", f"{interval} lies above the limit"
    if latency.high <= limit:
        return "pass", f"{interval} lies at or below the limit"
    return "inconclusive", f"{interval} holds the limit: run more rounds"
