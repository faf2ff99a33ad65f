"""What a ledger, a baseline and the layers found wrong, as one list that every rendering shows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from mobilekit.cli.render.format import count, figure, limit_words, missed_words, percent
from mobilekit.parity.baseline import BaselineReport
from mobilekit.parity.layers.result import Layers
from mobilekit.parity.ledger.result import MOST_RELATIVE_L2, GateResult, JudgedBound, Ledger, NotRun, Row
from mobilekit.store.manifest import FailedStage
from mobilekit.store.result import Figure, Result
from mobilekit.store.stages import Stage, find_stage, stage_of_file

Rule = Literal["stage", "parity", "gate", "labels", "baseline", "layers", "cost"]
Level = Literal["error", "warning"]

_ON_A_MAC = "`mobilekit diff BUNDLE` on a Mac measures it; until then nothing is known of its outputs."
_REWRITES = "`mobilekit rewrites explain MODEL` proves or measures each rewrite by itself."
_BISECT = "`mobilekit diff ... --bisect DIR` finds the module at fault, and cuts it out."
_LAYERS = "`mobilekit diff BUNDLE --layers --precision {}` names the module at fault."
_PACKAGE = "`mobilekit inspect BUNDLE/{}` says what is in it; export float32 as well."
_UNJUDGED = (
    "Hold it to a limit of your own, such as `limits: {{{}: {{relative_l2: 0.3}}}}` in the recipe. Random weights are "
    "more sensitive than trained ones."
)
_FEW_LABELS = (
    "So few labels, or so many that the format changes, tell nothing. Measure on more inputs (`mobilekit diff BUNDLE "
    "--inputs DIR`), or hold it to a limit of your own, such as `limits: {{{}: {{equal_labels: 0.8}}}}` in the recipe."
)
_LABELS = (
    "Name the classes in the order of the outputs, with --labels FILE or a classes.txt beside the pictures; and see "
    "that size, color, mean, std and crop are those of the training."
)
_GATE_ADVICE = {
    "max_partitions": "`mobilekit inspect FILE` names each op outside the delegate, with the reason.",
    "forbid_ops": "`mobilekit inspect FILE --ops` shows where they are.",
    "max_size_mb": "`mobilekit inspect FILE` shows what it is made of; the formats of 8 bits are smaller.",
    "whole": "`mobilekit inspect FILE --target TARGET` names each op, with the compiler's words and the module.",
    "same-function": "Please report it, with the model; leave the target out, or take the file that it stands for.",
    "max_top1_drop": "`mobilekit quantize-search` finds what to leave in float; calibrate on pictures like those.",
    "app": "Scale as the recipe does, or let its `resize` do as the app does, and export again: docs/app.md.",
}
_GATES = {"max_partitions": ("XNNPACK partition", ""), "forbid_ops": ("forbidden op", ""), "max_size_mb": ("MB", "MB")}
_UNKNOWN_ON_RANDOM = "within its limits on these inputs, and outside them on random ones"


@dataclass(frozen=True)
class Finding(Result):
    """One thing that is wrong: a stage left out, a missed limit, a broken invariant, a gate, a regression, a jump."""

    rule: Rule
    level: Level
    """`error` where it makes the exit code 1."""
    place: str
    """Where, in words, such as `tflite-int8 against reference (logits)`. Several findings may be of one place."""
    text: str
    """What is wrong there, without a full stop."""
    stage: str | None = None
    against: str | None = None
    output: str | None = None
    file: str | None = None
    """Path in the bundle."""
    module: str | None = None
    gate: str | None = None
    metric: str | None = None
    inputs: Literal["real", "random"] = "real"
    measured: Figure | None = None
    limit: Figure | None = None
    follows: str | None = None
    """The failed stage that this one was made from, which is to be mended first."""
    advice: str = ""
    """What to do; empty where it follows from an earlier stage."""


def findings_of(
    ledger: Ledger,
    baseline: BaselineReport | None = None,
    layers: Layers | None = None,
    is_bisected: bool = False,
) -> tuple[Finding, ...]:
    """Return all that is wrong, in the order of the stages.

    Args:
        ledger: What was measured.
        baseline: The comparison with an earlier ledger.
        layers: The values inside.
        is_bisected: Whether the fault has been looked for already, which is else the advice.
    """
    found = [*_of_doubt(ledger), *_of_rows(ledger, is_bisected), *map(_of_failed, ledger.failed_stages)]
    found += map(_of_not_run, ledger.not_run)
    found += [_of_gate(gate) for gate in ledger.gates if gate.verdict != "pass"]
    return (*found, *_of_baseline(baseline), *_of_layers(layers))


def gate_words(gate: GateResult) -> str:
    """Say what an artifact has of what a gate limits."""
    if gate.gate == "max_top1_drop":
        lost = "is not known" if math.isnan(gate.value) else f"is {percent(gate.value, 2)} % of the inputs"
        return f"the drop of top-1 {lost}, at most {percent(gate.limit, 2)} %"
    if gate.gate.startswith("app-"):
        share = "is not known" if math.isnan(gate.value) else f"is {percent(gate.value, 2)} %"
        return (
            f"the share of pictures that keep their class in {gate.gate} {share}, at least {percent(gate.limit, 2)} %"
        )
    if gate.gate == "whole":
        return f"{gate.target} leaves {count(gate.value, 'op')} or computes them wrongly"
    if gate.gate == "same-function":
        return f"relative L2 {figure(gate.value)} to the file that it stands for, at most {figure(gate.limit)}"
    words = (f"{gate.target} partition", "") if gate.target else _GATES[gate.gate]
    return f"{count(gate.value, *words)}, at most {gate.limit:g}"


def by_place(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Return the findings of each place together, in their order."""
    return [list(members) for _, members in groupby(findings, lambda each: (each.rule, each.place))]


def texts_of(findings: Sequence[Finding]) -> str:
    """Return what is wrong in one place, as one sentence without a full stop."""
    return "; ".join(each.text for each in findings)


def advice_of(findings: Sequence[Finding]) -> list[str]:
    """Return what to do, each piece of advice once."""
    return list(dict.fromkeys(each.advice for each in findings if each.advice))


def _of_rows(ledger: Ledger, is_bisected: bool) -> Iterator[Finding]:
    failed = {row.stage for row in ledger.rows if row.verdict == "fail"}
    for row in ledger.rows:
        if row.verdict == "inconclusive":
            yield from _unjudged(row)
        if row.verdict == "fail":
            follows = _follows(row.stage, failed)
            default = "" if is_bisected else _default_advice(row.stage)
            for each in _of_row(row):
                yield replace(each, follows=follows, advice="" if follows else each.advice or default)


def _unjudged(row: Row) -> Iterator[Finding]:
    """Yield each limit that is too large to say anything."""
    text = "unjudged: its limit of {} is above {:g} and says nothing; its relative L2 is {}{}"
    inputs: tuple[Literal["real", "random"], ...] = ("real", "random")
    for kind, limits in zip(inputs, (row.limits, row.random_limits), strict=True):
        for limit in (each for each in limits if each.is_lax):
            on = " on random inputs" if kind == "random" else ""
            words = text.format(figure(limit.limit), MOST_RELATIVE_L2, figure(limit.value), on)
            if row.has_labels:
                words = f"unjudged: {limit_words(limit)} is the limit{on} and says nothing; it is {limit.value:.4g}"
            found = replace(_missed(_where(row), limit, kind), level="warning", text=words)
            yield replace(found, advice=(_FEW_LABELS if row.has_labels else _UNJUDGED).format(row.stage))


def _where(row: Row) -> Finding:
    where = Finding("parity", "error", row.place, _UNKNOWN_ON_RANDOM, row.stage, row.against, row.output)
    return replace(where, file=_file(row.stage))


def _of_row(row: Row) -> Iterator[Finding]:
    where = _where(row)
    found = [replace(where, text=each.text, metric=each.invariant, advice=each.advice) for each in row.findings]
    if not row.finite or not row.random.finite:  # there is no use in figures of such
        yield from found or [replace(where, text="some outputs are not finite numbers")]
        return
    found += [_missed(where, limit, "real") for limit in row.limits if not limit.holds]
    found += [_missed(where, limit, "random") for limit in row.random_limits if not limit.holds]
    yield from found or [where]


def _missed(where: Finding, limit: JudgedBound, inputs: Literal["real", "random"]) -> Finding:
    return replace(
        where,
        text=missed_words(limit) + (" on random inputs" if inputs == "random" else ""),
        metric=limit.metric,
        inputs=inputs,
        measured=limit.value,
        limit=limit.limit,
        advice=limit.advice,
    )


def _follows(stage: str, failed: set[str]) -> str | None:
    """Return the first of the failed stages that a stage was made from."""
    known = find_stage(stage)
    before, first = known.predecessor if known else None, None
    while before is not None:
        first = before if before in failed else first
        before = before.predecessor
    return first


def _default_advice(stage: str) -> str:
    known = find_stage(stage)
    if known is Stage.REWRITTEN:
        return _REWRITES
    if known is None:  # a file that was made elsewhere
        return "" if stage.endswith(".pte") else _BISECT
    if known.file_format == "pte":
        return _LAYERS.format(known)
    if known.file_format == "mlpackage":
        return _PACKAGE.format(known.file)
    return "" if known.is_on_device else _BISECT


def _file(stage: str) -> str | None:
    known = find_stage(stage)
    return known.file if known else None


def _of_failed(failed: FailedStage) -> Finding:
    text = f"left out: {failed.reason}"
    return Finding("stage", "error", failed.stage, text, failed.stage, follows=failed.follows, advice=failed.advice)


def _of_not_run(each: NotRun) -> Finding:
    return Finding("stage", "warning", each.stage, f"not run here: {each.reason}", each.stage, advice=_ON_A_MAC)


def _of_doubt(ledger: Ledger) -> Iterator[Finding]:
    if ledger.doubt:
        yield Finding("labels", "warning", "reference", ledger.doubt, metric="top1", advice=_LABELS)


def _of_gate(gate: GateResult) -> Finding:
    stage = stage_of_file(gate.artifact)
    return Finding(
        "gate",
        "error" if gate.verdict == "fail" else "warning",
        gate.artifact,
        gate_words(gate) + (f": {gate.why}" if gate.why else ""),
        stage=stage,
        file=gate.artifact,
        gate=gate.gate,
        measured=gate.value,
        limit=gate.limit,
        advice=_GATE_ADVICE["app" if gate.gate.startswith("app-") else gate.gate],
    )


def _of_baseline(baseline: BaselineReport | None) -> Iterator[Finding]:
    for row in baseline.stages if baseline else ():
        if row.verdict == "regressed":
            yield Finding(
                "baseline",
                "error",
                row.place,
                f"relative L2 {row.why}",
                stage=row.stage,
                against=row.against,
                output=row.output,
                file=_file(row.stage),
                metric="relative_l2",
                measured=row.now,
                limit=None if row.before is None or row.format_error is None else row.before + row.format_error,
                advice="Where the change is meant, keep the new ledger.json as the baseline.",
            )


def _of_layers(layers: Layers | None) -> Iterator[Finding]:
    for stage in layers.measured if layers else ():
        jump = stage.first_jump
        if jump and jump.step:
            found, limit = figure(jump.step.relative_l2), figure(jump.limit)
            yield Finding(
                "layers",
                "warning",
                f"{stage.stage} at {jump.module}",
                f"the error jumps: {found}, and the format explains {limit} there",
                stage=stage.stage,
                against=stage.against,
                file=stage.stage.file,
                module=jump.module,
                metric="relative_l2",
                measured=jump.step.relative_l2,
                limit=jump.limit,
            )
