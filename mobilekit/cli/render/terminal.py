"""The ledger on the terminal, in 80 columns."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mobilekit.parity.ledger.metrics import HIGHER_IS_BETTER

_LONG = {
    "max_abs": "max abs",
    "relative_l2": "relative L2",
    "cosine": "cosine",
    "top1_agreement": "top-1 agreement",
    "topk_agreement": "top-k agreement",
    "top1": "top-1",
    "float64_ulps": "distance from float64",
}
_SHORT = {**_LONG, "max_abs": "abs", "relative_l2": "L2", "top1_agreement": "same", "float64_ulps": "ulps"}


def ledger_table(ledger: dict[str, Any]) -> Group:
    """Return a ledger, as `Ledger.to_json` gives it: a line a stage, then where the limits are from, and the verdict.

    Figures are against the reference; `step` is the relative L2 against the stage that this one was made from.
    """
    totals = {(row["stage"], row["output"]): row for row in ledger["stages"] if row["against"] == "reference"}
    steps = {(row["stage"], row["output"]): row for row in ledger["stages"]}  # the stage before comes second
    several = len({row["output"] for row in ledger["stages"]}) > 1
    labelled = ledger["reference_top1"] is not None
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("stage", no_wrap=True)
    for column in ("max abs", "rel L2", "step", "cosine", "same %", *(["top-1 %"] if labelled else []), "limit"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for place, row in totals.items():
        passed = row["verdict"] == steps[place]["verdict"] == "pass"
        table.add_row(
            " ".join(place) if several else row["stage"],
            _figure(row["max_abs"]),
            _figure(row["relative_l2"]),
            _figure(steps[place]["relative_l2"]),
            "-" if row["cosine"] is None else f"{row['cosine']:.6f}",
            f"{100 * row['top1_agreement']:.1f}",
            *([f"{100 * row['top1']:.2f}"] if labelled else []),
            _limit(row["limits"][0], _SHORT) if row["limits"] else "-",
            Text("pass", style="green") if passed else Text("fail", style="bold red"),
        )
    return Group(table, Text(_explanation(ledger)))


def rewrite_lines(ledger: dict[str, Any]) -> list[str]:
    """Return a line for each rewrite, with its proof or drift, and one for each reason of a refusal and each note."""
    lines, nothing = [], []
    for step in ledger["rewrites"]:
        if not step["applied"] and not step["refused"] and len(step.get("notes", ())) <= 1:
            nothing.append(step["name"])
            continue
        lines.append(step_line(step, len(step["applied"])))
        reasons = Counter(refusal["reason"] for refusal in step["refused"])
        lines += [f"  left {_sites(count)}: {reason}" for reason, count in reasons.items()]
        lines += [f"  note: {note}" for note in step.get("notes", ())]
    return [*lines, f"matching nothing in this model: {', '.join(nothing)}"] if nothing else lines


def step_line(step: dict[str, Any], applied: int) -> str:
    """Return one rewrite with the number of its sites, and its proof or drift."""
    proof, rounding, drift = step["proof"], step.get("float32"), step["drift"]
    shown = "nothing to prove"
    if proof:
        shown = f"float64 error {proof['relative_error']:.1e}, limit {proof['limit']:g}"
        if rounding:
            shown += f"; float32 {rounding['ulps']:.0f} ulps, limit {rounding['limit']:.0f}"
    elif drift is not None:
        limit = step["max_drift"]
        shown = f"drift {drift:.3g}, {'no limit' if limit is None else f'max_drift {limit:g}'}"
    return f"{step['name']} ({step['exactness']}): {_sites(applied)}; {shown}"


def _explanation(ledger: dict[str, Any]) -> str:
    inputs = ledger["inputs"]
    lines = [f"\nMeasured on {inputs['count']} inputs ({inputs['real']}); float stages on random inputs as well."]
    if ledger["reference_top1"] is not None:
        lines.append(f"The reference's own top-1 is {100 * ledger['reference_top1']:.2f} %.")
    lines += _topk(ledger)
    lines.append("Limits:")
    bounds = {_limit(bound, _LONG): bound["derivation"] for row in ledger["stages"] for bound in row["limits"]}
    lines += [f"  {limit}: {why}" for limit, why in bounds.items()]
    lines += [gate_line(gate) for gate in ledger.get("gates", ())]
    failed = [row for row in ledger["stages"] if row["verdict"] != "pass"]
    lines += [f"{row['stage']} against {row['against']} ({row['output']}): {misses(row)}." for row in failed]
    lines += dict.fromkeys(
        each["advice"] for row in failed for each in (*row.get("findings", ()), *_missed(row)) if each.get("advice")
    )
    lines.append(f"Verdict: {ledger['verdict']}.")
    return "\n".join(lines)


_GATES = {"max_partitions": "XNNPACK partitions", "forbid_ops": "forbidden ops", "max_size_mb": "MB"}


def gate_line(gate: dict[str, Any]) -> str:
    """Say what an artifact has of what a gate limits."""
    why = f": {gate['why']}" if gate["why"] else ""
    figures = f"{_GATES[gate['gate']]} {gate['value']:g}, at most {gate['limit']:g}"
    return f"{gate['artifact']}: {figures}: {gate['verdict']}{why}"


def _topk(ledger: dict[str, Any]) -> list[str]:
    """Return a line on top-k agreement, where there is one."""
    rows = [row for row in ledger["stages"] if row["against"] == "reference" and row.get("top_k")]
    if not rows:
        return []
    worst = min(rows, key=lambda row: row["topk_agreement"])
    agreement = f"{100 * worst['topk_agreement']:.1f} %"
    return [
        f"Of the reference's first {worst['top_k']} classes, each stage has {agreement} or more ({worst['stage']})."
    ]


def loosened(ledger: dict[str, Any]) -> list[str]:
    """Return a sentence for each limit that the recipe loosened, with its reason."""
    return list(
        dict.fromkeys(
            f"{row['stage']}: {_limit(bound, _LONG)}, {bound['derivation']}"
            for row in ledger["stages"]
            for bound in row["limits"]
            if bound.get("reason")
        )
    )


def misses(row: dict[str, Any]) -> str:
    """Say what a failed row missed: the invariants that it breaks, then its limits."""
    broken = [finding["text"] for finding in row.get("findings", ())]
    if not row["finite"] or not row["random"]["finite"]:
        return "; ".join(broken) or "some outputs are not finite numbers"

    missed = broken + [
        f"{_LONG[bound['metric']]} is {_value(bound, row[bound['metric']])}, and {_limit(bound, _LONG)} is the limit"
        for bound in _missed(row)
    ]
    return "; ".join(missed) or "within its limits on these inputs, and outside them on the random ones"


def _missed(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the limits that a row is beyond."""

    def beyond(bound: dict[str, Any]) -> bool:
        value, limit = row[bound["metric"]], bound["limit"]
        if value is None or limit is None:
            return True
        return bool(value < limit if bound["metric"] in HIGHER_IS_BETTER else value > limit)

    return [bound for bound in row["limits"] if beyond(bound)]


def limit_words(bound: dict[str, Any]) -> str:
    """Return a limit in words, as `relative L2 <= 3.9e-03`."""
    return _limit(bound, _LONG)


def _sites(count: int) -> str:
    return f"{count} site{'' if count == 1 else 's'}"


def _limit(bound: dict[str, Any], names: dict[str, str]) -> str:
    sign = ">=" if bound["metric"] in HIGHER_IS_BETTER else "<="
    figure = _value(bound, bound["limit"])
    return f"{names[bound['metric']]} {sign} {figure}" if names is _LONG else f"{names[bound['metric']]} {figure}"


def _value(bound: dict[str, Any], value: float | None) -> str:
    """Return a figure of a limit's metric: shares and cosines as they are, errors with their power of ten."""
    if value is not None and bound["metric"] == "float64_ulps":
        return f"{value:.3g} ulps"
    return f"{value:.4g}" if value is not None and bound["metric"] in HIGHER_IS_BETTER else _figure(value)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"
