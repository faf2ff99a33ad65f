"""The ledger as a table on the terminal."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text


def ledger_table(ledger: dict[str, Any]) -> Group:
    """Return a ledger, as `Ledger.to_json` gives it, as a table with its limits and verdict below."""
    rows = ledger["stages"]
    labelled = any(row["top1"] is not None for row in rows)
    table = Table(box=None)
    table.add_column("stage", no_wrap=True)
    table.add_column("against", no_wrap=True)
    for column in ("max abs", "rel L2", "cosine", "PSNR dB", "top-1 same", *(["top-1"] if labelled else []), "limit"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for row in rows:
        table.add_row(
            row["stage"],
            row["against"],
            _figure(row["max_abs"]),
            _figure(row["relative_l2"]),
            "-" if row["cosine"] is None else f"{row['cosine']:.6f}",
            "same" if row["psnr_db"] is None else f"{row['psnr_db']:.1f}",
            f"{100 * row['top1_agreement']:.1f} %",
            *([f"{100 * row['top1']:.2f} %"] if labelled else []),
            ", ".join(f"{_SHORT[bound['metric']]} {_limit(bound)}" for bound in row["limits"]),
            Text(row["verdict"], style="green" if row["verdict"] == "pass" else "bold red"),
        )
    return Group(table, Text(_summary(ledger)))


def rewrite_lines(ledger: dict[str, Any]) -> list[str]:
    """Return a line for each rewrite, with its proof or drift, and one for each reason of a refusal."""
    lines = []
    for step in ledger["rewrites"]:
        proof, drift = step["proof"], step["drift"]
        shown = (
            f"float64 error {proof['relative_error']:.1e}, limit {proof['limit']:g}"
            if proof
            else f"drift {drift:.3g}, max_drift {step['max_drift']:g}"
            if drift is not None
            else "nothing to prove"
        )
        lines.append(f"{step['name']} ({step['exactness']}): {_sites(len(step['applied']))}; {shown}")
        reasons = Counter(refusal["reason"] for refusal in step["refused"])
        lines += [f"  left {_sites(count)}: {reason}" for reason, count in reasons.items()]
    return lines


def _sites(count: int) -> str:
    return f"{count} site{'' if count == 1 else 's'}"


_SHORT = {"max_abs": "max abs", "relative_l2": "rel L2", "cosine": "cosine", "top1_agreement": "top-1 same"}


def _summary(ledger: dict[str, Any]) -> str:
    inputs = ledger["inputs"]
    lines = [f"\nMeasured on {inputs['count']} inputs: {inputs['real']}; float stages on random inputs as well."]
    if ledger["reference_top1"] is not None:
        lines.append(f"The reference's own top-1 is {100 * ledger['reference_top1']:.2f} %.")
    derivations = dict.fromkeys(
        (bound["metric"], bound["limit"], bound["derivation"]) for row in ledger["stages"] for bound in row["limits"]
    )
    lines += [
        f"{_SHORT[metric]} {_limit({'metric': metric, 'limit': limit})}: {why}." for metric, limit, why in derivations
    ]
    failed = [f"{row['stage']} against {row['against']}" for row in ledger["stages"] if row["verdict"] != "pass"]
    lines.append(f"Verdict: fail ({', '.join(failed)})." if failed else "Verdict: pass.")
    return "\n".join(lines)


def _limit(bound: dict[str, Any]) -> str:
    sign = ">=" if bound["metric"] in ("cosine", "top1_agreement") else "<="
    return f"{sign} {bound['limit']:.3g}" if sign == "<=" else f"{sign} {bound['limit']:g}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"
