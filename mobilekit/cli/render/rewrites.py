"""Rewrites on the terminal: what they did to a model, and what their sites cost."""

from __future__ import annotations

import re
from typing import Any

import yaml
from rich.console import Group
from rich.table import Table
from rich.text import Text

from mobilekit.cli.render.format import count, millions
from mobilekit.cli.render.steps import step_line
from mobilekit.rewrites.report import StepReport

Content = dict[str, Any]


def explanation(content: Content, in_full: bool = False) -> Group:
    """Return what `mobilekit rewrites explain` shows.

    Args:
        content: As its JSON.
        in_full: Write each site's path; otherwise paths that differ in numbers alone are one line.
    """
    lines = [_heading(content)]
    for step in content["steps"]:
        applied = [site for site in step["sites"] if site["applied"]]
        lines.append(Text(step_line(_report(step)), style="bold"))
        if step["drift"] is not None:
            lines.append(Text(f"  {_drifts(step)}"))
        if applied:
            lines.append(Text(f"  {_costs(step)}"))
        lines += [Text(f"  {line}") for line in _site_lines(step["sites"], in_full)]
        lines += [Text(f"  note: {note}.") for note in step["notes"]]
    before, after = content["before"], content["after"]
    lines.append(Text(f"In all: MACs {_macs(before['macs'], after['macs'])}, ops {before['ops']} -> {after['ops']}."))
    return Group(*lines)


def _report(step: Content) -> StepReport:
    """Return what an explanation's step says, as an export has it."""
    applied = [site["path"] for site in step["sites"] if site["applied"]]
    return StepReport.from_json({**step, "applied": applied, "refused": []})


def ranking(content: Content) -> Group:
    """Return what `mobilekit rewrites rank` shows, of its JSON."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("site", no_wrap=True)
    for column in ("drift", "same %", "with all above", "same %"):
        table.add_column(column, justify="right", no_wrap=True)
    for site in content["sites"]:
        figures = (site["drift"], site["cumulative_drift"])
        shares = (site["top1_agreement"], site["cumulative_top1_agreement"])
        cells = [cell for figure, share in zip(figures, shares, strict=True) for cell in (_g(figure), f"{share:.1%}")]
        table.add_row(site["path"], *cells)
    inputs = count(content["inputs"], "calibration input")
    told = Text(
        f"Drift of {content['rewrite']}: relative L2 change of the outputs on {inputs}; same: top-1 agreement.\n"
    )
    return Group(_heading(content), table, told, *([Text(step_yaml(content["step"]))] if content["step"] else []))


def step_yaml(step: Content) -> str:
    """Return a recipe's step that names its sites, as YAML; a comment where no site fits."""
    if not step["options"]["sites"]:
        return f"# No site of {step['name']} keeps the drift within {step['max_drift']:g}."
    text: str = yaml.safe_dump({"rewrites": [step]}, sort_keys=False)
    return text


def _heading(content: Content) -> Text:
    return Text(f"{content['model']} with recipe {content['recipe']}; {content['weights']}.\n")


def _drifts(step: Content) -> str:
    parts = [
        f"drift alone {_g(step['drift_alone'])}",
        f"with all before it {_g(step['drift_so_far'])}",
        f"same top-1 {step['top1_agreement']:.1%}",
    ]
    return "; ".join(parts) + ("; an export would stop here" if step["within_limits"] is False else "")


def _costs(step: Content) -> str:
    changes = ", ".join(f"{name} {change:+d}" for name, change in step["changed_ops"].items())
    return f"MACs {_macs(*step['macs'])}, ops {step['ops'][0]} -> {step['ops'][1]}{f': {changes}' if changes else ''}"


def _macs(before: int, after: int) -> str:
    return millions(before) if before == after else f"{millions(before)} -> {millions(after)}"


def _site_lines(sites: list[Content], in_full: bool) -> list[str]:
    groups: dict[tuple[str, str, str], list[str]] = {}
    for site in sites:
        pattern = site["path"] if in_full else re.sub(r"(?<![A-Za-z])\d+", "*", site["path"])
        done, said = ("applied", site["detail"]) if site["applied"] else ("skipped", site["reason"])
        groups.setdefault((done, pattern, f": {said}" if said else ""), []).append(site["path"])
    return [
        f"{done} {f'{pattern} ({len(paths)})' if len(paths) > 1 else paths[0]}{said}"
        for (done, pattern, said), paths in groups.items()
    ]


def _g(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}" if abs(value) < 1e-3 else f"{value:.4f}"
