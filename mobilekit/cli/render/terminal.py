"""The ledger on the terminal, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from mobilekit.cli.findings import Finding, advice_of, by_place, gate_words, texts_of
from mobilekit.cli.render.apps import gate_of
from mobilekit.cli.render.format import NOTHING, count, figure, limit_words, percent, short_limit
from mobilekit.parity.ledger.accuracy import labels_in_words
from mobilekit.parity.ledger.result import Ledger, Verdict, worst
from mobilekit.store.manifest import Int8Ranges


def verdict_line(ledger: Ledger, findings: Sequence[Finding], name: str) -> str:
    """Return the verdict with its reason, in one line.

    Args:
        ledger: What was measured.
        findings: All that is wrong.
        name: Of what was measured.
    """
    verdict, why = verdict_words(ledger, findings)
    return f"{verdict}: {name}: {why}"


def verdict_words(ledger: Ledger, findings: Sequence[Finding]) -> tuple[str, str]:
    """Return the verdict, with what is doubtful of the inputs, and its reason."""
    errors = [finding for finding in findings if finding.level == "error"]
    built_in = _built_in(ledger)
    stages = list(dict.fromkeys(row.stage for row in ledger.rows))
    unjudged = list(dict.fromkeys(row.stage for row in ledger.rows if row.verdict == "inconclusive"))
    if errors:
        return f"fail{_on(built_in)}", "; ".join(_failures(ledger, errors, len(stages))) + _not_run(ledger)
    if unjudged:
        shares = f"{len(unjudged)} of {count(len(stages), 'stage')}"
        return f"inconclusive{_on(built_in)}", f"{shares} unjudged, first {unjudged[0]}{_not_run(ledger)}"
    if ledger.not_run:
        return f"inconclusive{_on(built_in)}", f"{count(len(stages), 'stage')} within the limits{_not_run(ledger)}"
    if ledger.verdict == "inconclusive":
        why = (
            "the reference itself is no better than guessing"
            if ledger.doubt
            else "accuracy has no labels to judge it by"
        )
        return f"inconclusive{_on(built_in)}", why
    gates = f", {count(len(ledger.gates), 'gate')} held" if ledger.gates else ""
    on = [*(["assumed inputs"] if ledger.assumed else []), *built_in]
    return f"pass{_on(on)}", f"{count(len(stages), 'stage')} within the limits{gates}"


def _failures(ledger: Ledger, errors: Sequence[Finding], stages: int) -> Iterator[str]:
    """Yield what failed: stages, gates, comparisons with a baseline."""
    absent = [failed.stage for failed in ledger.failed_stages]
    if absent:
        yield f"{count(len(absent), 'stage')} left out, first {absent[0]}"
    failed = list(dict.fromkeys(each.stage for each in errors if each.rule == "parity" and each.stage))
    if failed:
        yield f"{len(failed)} of {count(stages, 'stage')} outside the limits, first {failed[0]}"
    missed = [each for each in errors if each.rule == "gate"]
    if missed:
        yield f"{len(missed)} of {count(len(ledger.gates), 'gate')} missed, first {missed[0].place}"
    worse = len(by_place([each for each in errors if each.rule == "baseline"]))
    if worse:
        yield f"{count(worse, 'comparison')} worse than in the baseline"


def _not_run(ledger: Ledger) -> str:
    """Return which stages nothing is known of, to follow what is known."""
    names = [each.stage for each in ledger.not_run]
    return f"; {' and '.join(names)} not run here" if names else ""


def _built_in(ledger: Ledger) -> list[str]:
    """Return what a file that was calibrated on the user's inputs is measured on, where that is built-in data."""
    calibrated, measured = ledger.calibration, ledger.inputs
    return [f"built-in {measured.real}"] if calibrated and calibrated.is_own and not measured.is_own else []


def _on(what: list[str]) -> str:
    return f", on {' and '.join(what)}" if what else ""


def ledger_table(ledger: Ledger) -> Table:
    """Return a line for each stage and output, and for each way in which apps make the inputs.

    Figures are against the reference; `step` is the relative L2 against the stage that this one was made from. Labels
    have the share of equal ones alone.
    """
    before = ledger.steps_from_before
    several = len({row.output for row in ledger.rows}) > 1
    labeled = ledger.reference_top1 is not None
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("stage", no_wrap=True)
    for column in ("max abs", "rel L2", "step", "cosine", "same %", *(["top-1 %"] if labeled else []), "limit"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for place, row in ledger.totals.items():
        errors = (figure(row.max_abs), figure(row.relative_l2), figure(before[place].relative_l2))
        table.add_row(
            " ".join(place) if several else row.stage,
            *([NOTHING] * 4 if row.has_labels else [*errors, figure(row.cosine, ".6f")]),
            percent(row.top1_agreement),
            *([percent(row.top1, 2)] if labeled else []),
            short_limit(row.limits[0]) if row.limits else "-",
            _marked(worst((row.verdict, before[place].verdict))),
        )
    for app in ledger.apps:
        gate, errors = gate_of(app, ledger), (figure(app.max_abs), figure(app.relative_l2), NOTHING)
        table.add_row(
            f"{app.name} {app.output}" if several else app.name,
            *([NOTHING] * 4 if app.equal_labels is not None else [*errors, figure(app.cosine, ".6f")]),
            percent(app.top1_agreement),
            *([percent(app.top1, 2)] if labeled else []),
            f"same {gate.limit:.4g}" if gate else NOTHING,
            _marked(gate.verdict) if gate else "",
        )
    for absent in ledger.failed_stages:
        table.add_row(absent.stage, *[NOTHING] * (len(table.columns) - 2), _marked("fail"))
    for each in ledger.not_run:
        table.add_row(each.stage, *[NOTHING] * (len(table.columns) - 2), Text("not run here", style="yellow"))
    return table


def _marked(verdict: Verdict) -> Text:
    return Text(verdict, style={"pass": "green", "inconclusive": "yellow", "fail": "bold red"}[verdict])


def measured_lines(ledger: Ledger) -> list[str]:
    """Return what a ledger was measured on, and how the task fares."""
    on = f"Measured on {count(ledger.inputs.count, 'input')} ({ledger.inputs.real})"
    lines = [f"{on}; float stages on random inputs as well.", *calibration_lines(ledger)]
    if ledger.reference_top1 is not None:
        order = f" Labels: {labels_in_words(ledger.inputs.labels)}." if ledger.inputs.labels else ""
        lines.append(f"The reference's own top-1 is {percent(ledger.reference_top1, 2)} %.{order}")
    ranked = [row for row in ledger.totals.values() if row.topk_agreement is not None]
    if ranked:
        worst = min(ranked, key=lambda row: row.topk_agreement or 0.0)
        agreement = f"{percent(worst.topk_agreement)} %"
        lines.append(f"The lowest top-{worst.top_k} agreement with the reference is {agreement} ({worst.stage}).")
    return lines


class _Words(NamedTuple):
    rule: str
    ones: str


_RANGES = {
    "chosen": _Words("are chosen tensor by tensor", "chosen ones"),
    "careful": _Words("are chosen tensor by tensor so that no picture pays for it", "careful ones"),
    "min-max": _Words("go from lowest to highest value", "whole ones"),
    "histogram": _Words("are those of ExecuTorch's histograms", "those of histograms"),
}
"""By the words of the manifest."""


def calibration_lines(ledger: Ledger) -> list[str]:
    """Return what is doubtful of inputs, how int8 came by its ranges, if on built-in inputs, and what is assumed."""
    lines, used = list(ledger.notes), ledger.calibration
    ranges = used.ranges if used else None
    by_stage = {"int8": ranges, **used.other_ranges} if used else {}
    told = {name: each for name, each in by_stage.items() if each and (each.pictures or each.fewest)}
    lines += [_ranges_in_words(name, each) for name, each in told.items()]
    if ranges and ranges.float_outputs:
        which = " and ".join(ranges.float_outputs)
        lines.append(
            f"int8 leaves {which} in float: one scale for all of an output would leave parts of it few values."
        )
    if ranges and ranges.kept_outputs:
        which = " and ".join(ranges.kept_outputs)
        lines.append(f"int8 gives {which} in float32, as `keep_float` or `float_modules` of the recipe say.")
    if used and not used.is_own:
        lines.append(f"int8 is calibrated on {count(used.count, 'input')} ({used.source}), none of them yours.")
    if ledger.assumed:
        lines.append(f"Assumed, as nobody said it: {', '.join(ledger.assumed)}.")
    return lines


def _ranges_in_words(name: str, ranges: Int8Ranges) -> str:
    """Return which ranges a file of int8 has, and what told for them."""
    words = f"{name}'s ranges {_RANGES[ranges.ranges].rule}"
    if not ranges.pictures:
        return f"{words}: it takes {ranges.fewest} calibration inputs (or batches, with `batch`) to choose others."
    on = count(ranges.pictures, "calibration input")
    of_each = ", ".join(
        f"{error.mean:.2g} ({error.worst:.2g}) with {_RANGES[kind].ones}" for kind, error in ranges.relative_l2.items()
    )
    return f"{words}: on {on} kept back, mean relative L2 (and the worst) is {of_each}."


def finding_lines(findings: Sequence[Finding], in_full: bool = True) -> list[str]:
    """Return what is wrong, a line for each place, and then what to do.

    Args:
        findings: All that is wrong.
        in_full: Name each comparison; otherwise those that follow from an earlier stage are one line.
    """
    own = [each for each in findings if in_full or not each.follows]
    lines = [f"{members[0].place}: {texts_of(members)}." for members in by_place(own)]
    others = [each for each in findings if each not in own]
    later = list(dict.fromkeys(each.stage for each in others if each.stage and each.rule != "stage"))
    if later:
        lines.append(f"Made from these, and outside their limits too: {', '.join(later)}.")
    absent = [each.stage for each in others if each.stage and each.rule == "stage"]
    if absent:
        lines.append(f"Left out with them: {', '.join(absent)}.")
    return [*lines, *advice_of(findings)]


def limit_lines(ledger: Ledger) -> list[str]:
    """Return each limit with where it is from, and each gate with what the file has."""
    limits = {limit_words(limit): limit.derivation for row in ledger.rows for limit in row.limits}
    gates = [f"  {gate.artifact}: {gate_words(gate)}: {gate.verdict}" for gate in ledger.gates]
    lines = ["Limits:", *(f"  {limit}: {why}" for limit, why in limits.items())]
    return [*lines, *(["Gates:", *gates] if gates else [])]


def loosened(ledger: Ledger) -> list[str]:
    """Return a sentence for each limit that the recipe loosened, with its reason."""
    limits = [(row.stage, limit) for row in ledger.rows for limit in row.limits if limit.reason]
    return list(dict.fromkeys(f"{stage}: {limit_words(limit)}, {limit.derivation}" for stage, limit in limits))
