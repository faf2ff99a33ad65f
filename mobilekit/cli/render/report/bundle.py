"""The page of a bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mobilekit.bench.result import BenchResult
from mobilekit.cli.bench_results import Bench, about
from mobilekit.cli.findings import advice_of, by_place, gate_words, texts_of
from mobilekit.cli.render.apps import app_lines
from mobilekit.cli.render.format import METRICS, count, figure, limit_words, megabytes, metric_value, ms
from mobilekit.cli.render.layers import error, is_rounded, sqnr, summary, tap_names, worst_channel
from mobilekit.cli.render.ranges import range_lines
from mobilekit.cli.render.report import charts
from mobilekit.cli.render.report.costs import Column, columns, shares
from mobilekit.cli.render.report.marks import Mark, answer_mark
from mobilekit.cli.render.report.page import Chart, render
from mobilekit.cli.render.steps import step_lines
from mobilekit.cli.render.terminal import calibration_lines, loosened, verdict_words
from mobilekit.cli.results import DiffResult
from mobilekit.parity.layers.result import Layers
from mobilekit.parity.ledger.result import Ledger, Row, Verdict, worst
from mobilekit.store.bundle import changed_files
from mobilekit.store.stages import PRECISIONS, TFLITE_STAGES, Stage, stage_of_file

_ERRORS = ("relative_l2", "max_abs", "max_error_eps")
"""Metrics that grow with the error: a limit of one is as many times the error away as it is its own figure."""

_CHANGED = "missing, or changed since the export"
_FORMATS = (".tflite", ".pte", ".mlpackage", ".onnx")


@dataclass(frozen=True)
class Facts:
    """What a page shows of a bundle."""

    name: str
    manifest: Mapping[str, Any]
    result: DiffResult
    """Its ledger, with the values inside where they were measured."""
    sizes: Mapping[str, int]
    """Bytes of each file by its name."""
    changes: Sequence[str] = ()
    """What differs from the manifest."""
    benches: Sequence[Bench] = ()
    tested: DiffResult | None = None
    """What the same files do on other inputs, such as the user's test set."""
    answers: Sequence[Mapping[str, Any]] = ()
    """What targets said of its files, as JSON of `mobilekit inspect --target`, beside the gates that ask them."""
    sweep: str | None = None
    """Link to the page of the sweep that it is of."""
    outside: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """How many ops no delegate runs, by the name of a file for ExecuTorch."""

    @property
    def verdict(self) -> tuple[str, str]:
        """The verdict, with what is doubtful of the inputs, and its reason."""
        if self.changes:
            return "fail", f"changed since the export: {'; '.join(self.changes)}"
        return verdict_words(self.result, self.result.findings)

    @cached_property
    def damaged(self) -> set[str]:
        """The files, or packages, that are not those that were measured."""
        return {name.partition("/")[0] for name in changed_files(self.changes, self.manifest["files"])}


@dataclass(frozen=True)
class _File:
    """A line of the table of files."""

    name: str
    size: int | None
    error: str
    """Relative L2 from the reference."""
    parity: Mark
    targets: tuple[Mark, ...]
    costs: tuple[str, ...]


def bundle_html(facts: Facts) -> str:
    """Return the page: the verdict, how far each stage is off, what the files cost, and where that is from."""
    result, manifest = facts.result, facts.manifest
    files = {manifest["files"][name]: name for name in _artifacts(facts) if name in manifest["files"]}
    benches = about(facts.benches, files)
    costs = columns(benches, files)
    verdict, why = facts.verdict
    targets = _targets(facts)
    before = result.steps_from_before
    return render(
        "bundle.html.j2",
        facts=facts,
        manifest=manifest,
        ledger=result,
        mark=Mark(verdict.partition(",")[0], verdict),
        verdict=verdict,
        why=why,
        tested=_tested(facts.tested) if facts.tested else None,
        gain=_gain(facts, benches),
        problems=by_place([each for each in result.findings if each.level == "error"]),
        warnings=list(_warnings(facts)),
        advice=advice_of(result.findings),
        texts=texts_of,
        drift=_drift(result),
        undrawn=list(_undrawn(result)),
        stages=[(row, before[place]) for place, row in result.totals.items()],
        targets=targets,
        files=[_file(name, facts, targets, costs) for name in _artifacts(facts)],
        costs=costs,
        shares=shares(benches, files),
        accuracy=_accuracy(facts),
        rewrites=[step for step in result.steps if step.applied or step.refused],
        rewrite_lines=step_lines(result.steps, in_full=True),
        depth=_depth(result.layers) if result.layers else [],
        layer_lines=summary(result.layers) if result.layers else [],
        tap_names=tap_names(result.layers) if result.layers else {},
        apps=app_lines(result),
        loosened=loosened(result),
        gate_words=gate_words,
        limit_words=limit_words,
        worst=worst,
        error=error,
        is_rounded=is_rounded,
        sqnr=sqnr,
        worst_channel=worst_channel,
    )


def _tested(result: DiffResult) -> tuple[Mark, str, str, list[str]]:
    """Return the verdict on other inputs as a mark and in words, its reason, and what is wrong there."""
    verdict, why = verdict_words(result, result.findings)
    errors = by_place([each for each in result.findings if each.level == "error"])
    return (
        Mark(verdict.partition(",")[0], verdict),
        f"on {count(result.inputs.count, 'other input')} ({result.inputs.real}): {verdict}",
        why,
        [f"{members[0].place}: {texts_of(members)}" for members in errors],
    )


def _gain(facts: Facts, benches: Sequence[Bench]) -> str:
    """Return what the smallest good file has for what the float32 one has; nothing where either is missing."""
    passed = {row.stage for row in facts.result.rows} - {
        row.stage for row in facts.result.rows if row.verdict != "pass"
    }
    there = {stage.file for stage in TFLITE_STAGES if stage in passed}
    names = [name for name in _artifacts(facts) if name in there and name in facts.sizes.keys() - facts.damaged]
    small, whole = min(names, key=lambda name: facts.sizes[name], default=""), Stage.TFLITE_FLOAT32.file
    if small in ("", whole) or whole not in names:
        return ""
    sizes = f"{small} has {megabytes(facts.sizes[small])} for the {megabytes(facts.sizes[whole])} of {whole}"
    digests = [facts.manifest["files"][name] for name in (small, whole)]
    for bench in benches:
        if isinstance(bench, BenchResult) and not bench.device.emulated:
            latency = {each.sha256: each.latency_ms for each in bench.results}
            few, many = (latency.get(digest) for digest in digests)
            if few and many:
                return f"{sizes}, and takes {ms(few.median)} ms for {ms(many.median)} on {bench.device.model}."
    return f"{sizes}."


def _warnings(facts: Facts) -> Iterator[str]:
    """Yield what is no error and yet to be known: of inputs, findings, weights, ranges."""
    result = facts.result
    if facts.manifest["model"]["weights"].get("trained") is False:
        yield "The weights are not trained: what it says of a picture means nothing."
    yield from (
        f"{members[0].place}: {texts_of(members)}."
        for members in by_place([each for each in result.findings if each.level == "warning"])
    )
    yield from calibration_lines(result)
    if result.ranges:
        yield from range_lines(result.ranges, in_full=True)


def _artifacts(facts: Facts) -> list[str]:
    """Return the files that an app may take, by format and precision, a target's own form after the common one."""
    tops = {name.partition("/")[0] for name in facts.manifest["files"]}  # a package is a folder
    return sorted((name for name in tops if name.endswith(_FORMATS)), key=_order)


def _order(name: str) -> tuple[int, int, str]:
    words = name.split(".")
    precision = next((place for place, each in enumerate(PRECISIONS) if each in words), 0)
    return _FORMATS.index(f".{words[-1]}"), precision, name.replace(f".{words[-1]}", "")


def _targets(facts: Facts) -> list[str]:
    asked = [gate.target for gate in facts.result.gates if gate.target]
    return list(dict.fromkeys([*asked, *(answer["target"] for answer in facts.answers)]))


def _file(name: str, facts: Facts, targets: Sequence[str], costs: Sequence[Column]) -> _File:
    result, stage = facts.result, stage_of_file(name)
    rows = [row for row in result.rows if row.stage == stage] if stage else []
    if name in facts.damaged:
        parity = Mark("fail", f"{_CHANGED}: its figures are those of the exported one")
        asked = [Mark("inconclusive", f"{target}: {_CHANGED}") for target in ("XNNPACK", *targets)]
    else:
        parity = _parity(name, rows, result)
        asked = [_xnnpack(name, facts), *(_target(name, target, facts) for target in targets)]
    totals = [row for row in rows if row.is_total]
    return _File(
        name,
        facts.sizes.get(name),
        figure(max((row.relative_l2 for row in totals), default=None)),
        parity,
        tuple(asked),
        tuple(column.cells.get(name, "") for column in costs),
    )


def _parity(name: str, rows: Sequence[Row], result: Ledger) -> Mark:
    gates = [gate for gate in result.gates if gate.artifact == name and not gate.target]
    verdicts: list[Verdict] = [*(row.verdict for row in rows), *(gate.verdict for gate in gates)]
    for each in (each for each in result.not_run if each.stage.file == name):
        return Mark("inconclusive", f"not run here: {each.reason}")
    if not verdicts:
        return Mark("none", "not measured by itself")
    verdict = worst(verdicts)
    words = {
        "pass": "within its limits",
        "fail": "outside its limits",
        "inconclusive": "its limits say nothing, or its accuracy has no labels",
    }
    missed = [f"{gate_words(gate)}{f' ({gate.why})' if gate.why else ''}" for gate in gates if gate.verdict == "fail"]
    return Mark(verdict, "; ".join([words[verdict], *missed]))


def _xnnpack(name: str, facts: Facts) -> Mark:
    """Return in how many parts XNNPACK runs a file."""
    result, outside = facts.result, facts.outside.get(name, 0)
    found = result.artifacts.get(name)
    parts = found.partitions if found else None
    if parts is None:
        return Mark("none", "XNNPACK: not known" if name.endswith(".tflite") else "XNNPACK: no file of its runtime")
    failed = any(
        gate.verdict == "fail" for gate in result.gates if (gate.artifact, gate.gate) == (name, "max_partitions")
    )
    words = count(parts, "part") + (f", {count(outside, 'op')} outside" if outside else "")
    if parts == 1 and not outside and not failed:
        return Mark("pass", f"XNNPACK: {words}, the whole file")
    sign = words if parts == 1 and outside else f"{parts}"
    return Mark("fail" if failed or not parts else "inconclusive", f"XNNPACK: {words}", sign)


def _target(name: str, target: str, facts: Facts) -> Mark:
    gates = [gate for gate in facts.result.gates if (gate.artifact, gate.target) == (name, target)]
    if not gates:
        answers = {(answer["file"], answer["target"]): answer for answer in facts.answers}
        return answer_mark(target, answers.get((name, target)))
    verdict = worst(gate.verdict for gate in gates)
    if verdict == "pass":
        return Mark(verdict, f"{target}: runs all of it")
    missed = [gate for gate in gates if gate.verdict == verdict]
    words = "; ".join(f"{gate_words(gate)}{f' ({gate.why})' if gate.why else ''}" for gate in missed)
    return Mark(verdict, words if words.startswith(target) else f"{target}: {words}")


def _drift(result: Ledger) -> Chart | None:
    several = len({row.output for row in result.rows}) > 1
    points = []
    for row in result.totals.values():
        limit, words = _limit(row)
        label = f"{row.stage} {row.output}" if several else str(row.stage)
        shown = {"shown_error": "0" if row.relative_l2 == 0 else figure(row.relative_l2), "shown_limit": words}
        verdict = worst((row.verdict, result.steps_from_before[row.stage, row.output].verdict))
        error = row.relative_l2 if row.relative_l2 < float("inf") else None
        points.append({"stage": label, "error": error, "limit": limit, "verdict": verdict, **shown})
    points = [point for point in points if point["error"] is not None]
    if not points:
        return None
    said = "; ".join(f"{point['stage']} {point['shown_error']}, {point['verdict']}" for point in points)
    return Chart("drift", f"Relative L2 distance of each stage from PyTorch: {said}.", charts.drift(points))


def _undrawn(result: Ledger) -> Iterator[str]:
    """Yield the stages that the chart of drift has not, with the reason."""
    yield from (f"{each.stage} was not run here ({each.reason})" for each in result.not_run)
    yield from (f"{each.stage} failed" for each in result.failed_stages)
    for row in result.totals.values():
        if not row.relative_l2 < float("inf"):
            yield f"{row.stage} {row.output} has no finite error"


def _limit(row: Row) -> tuple[float | None, str]:
    """Return the limit that the error meets first, on the axis of the relative L2, and in words.

    A limit of another metric stands where the relative L2 would be if the whole error grew until it met that.
    """
    near: list[tuple[float, str]] = []
    for limit in row.limits:
        if limit.metric == "relative_l2":
            near.append((limit.limit, limit_words(limit)))
        elif limit.metric in _ERRORS and limit.value > 0 and row.relative_l2 > 0:
            words = f"{limit_words(limit)}, and it is {metric_value(limit.metric, limit.value)}"
            near.append((row.relative_l2 * limit.limit / limit.value, words))
    near = [(place, words) for place, words in near if 0 < place < float("inf")]
    if near:
        return min(near)
    if row.relative_l2 == 0:  # nothing that could grow, so the limit has no place
        first = next((limit for limit in row.limits if limit.metric in _ERRORS), None)
        return None, limit_words(first) if first else "none"
    return None, "; ".join(METRICS[limit.metric] for limit in row.limits) or "none"


def _accuracy(facts: Facts) -> list[tuple[str, Ledger]]:
    """Return the ledgers that say how often the model is right, or what changes on inputs of the user's."""
    found: list[tuple[str, Ledger]] = [("At the export", facts.result)]
    found += [("On other inputs", facts.tested)] if facts.tested else []
    return [(title, ledger) for title, ledger in found if ledger.reference_top1 is not None or ledger is facts.tested]


def _short(value: float) -> float:
    """Return a figure with the digits that a picture shows: a large model has thousands."""
    return float(f"{value:.3g}")


def _depth(layers: Layers) -> list[Chart]:
    """Return the errors inside the model, against the reference and against the stage before."""
    drawn, stages = [], [stage.stage for stage in layers.measured]
    for name, title, field in (
        ("depth-total", "relative L2 against the reference", "total"),
        ("depth-step", "relative L2 against the stage before", "step"),
    ):
        points = []
        for stage in layers.measured:
            for place, row in enumerate(stage.rows):
                found = getattr(row, field)
                if found is None or not 0 < found.relative_l2 < float("inf"):
                    continue  # a logarithm has no place for these
                expected = (
                    row.expected if field == "step" and is_rounded(stage) and 0 < row.expected < float("inf") else None
                )
                point = {"place": place, "module": row.module, "stage": stage.stage, "error": _short(found.relative_l2)}
                points.append({**point, **({"expected": _short(expected)} if expected else {})})
        words = f"{title} of {count(len(layers.taps), 'value')} inside the model, a line for each stage."
        if points:
            drawn.append(Chart(name, words, charts.depth(points, stages, title)))
    return drawn
