"""What the rewrites did, in lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mobilekit.cli.render.format import count, figure
from mobilekit.rewrites.report import StepReport

_FIGURES = re.compile(r"\d[\d,.]*")


def step_line(step: StepReport) -> str:
    """Return one rewrite with the number of its sites, and the figures of its proof or drift."""
    return f"{step.name} ({step.exactness}): {count(len(step.applied), 'site')}; {_shown(step)}"


def step_lines(steps: Sequence[StepReport], in_full: bool = False) -> list[str]:
    """Return what the rewrites did: where each was applied, where it was not and why, and what is to be noted.

    Args:
        steps: Of the recipe.
        in_full: A line for each rewrite with the figures of its proof or drift; otherwise proved ones share a line.
    """
    proved = [step for step in steps if step.applied and step.exactness.is_proved and not in_full]
    lines = [f"proved in float64: {', '.join(f'{step.name} {_sites(step)}' for step in proved)}"] if proved else []
    matched = [step for step in steps if step.applied or step.refused or len(step.notes) > 1]
    for step in matched:
        if step not in proved and (step.applied or in_full):
            lines.append(step_line(step))
        lines += _refusals(step)
        lines += [f"note on {step.name}: {note}" for note in step.notes]
    nothing = [step.name for step in steps if step not in matched]
    return [*lines, f"matching nothing in this model: {', '.join(nothing)}"] if nothing else lines


def _sites(step: StepReport) -> str:
    return f"({count(len(step.applied), 'site')})"


def _refusals(step: StepReport) -> Iterator[str]:
    """Yield a line for each reason; reasons that differ in figures alone are one."""
    reasons: dict[str, list[str]] = {}
    for refusal in step.refused:
        reasons.setdefault(_FIGURES.sub("#", refusal.reason), []).append(refusal.reason)
    for members in reasons.values():
        others = "" if len(set(members)) == 1 else " (and such)"
        yield f"{step.name} skipped {count(len(members), 'site')}: {members[0]}{others}"


def _shown(step: StepReport) -> str:
    if step.proof:
        shown = f"float64 error {figure(step.proof.relative_error)}, limit {step.proof.limit:g}"
        rounding = step.float32
        return f"{shown}; float32 {rounding.max_error_eps:.0f} eps, limit {rounding.limit:.0f}" if rounding else shown
    if step.drift is not None:
        limit = "no limit" if step.max_drift is None else f"max_drift {step.max_drift:g}"
        return f"drift {step.drift:.3g}, {limit}"
    return "nothing to prove"
