"""What a notebook shows of a rewritten module."""

from __future__ import annotations

from collections.abc import Iterable

from torch.fx import GraphModule

from mobilekit.rewrites.report import StepReport
from mobilekit.store.notebook import markdown_table


def show_steps(graph: GraphModule, steps: Iterable[StepReport]) -> None:
    """Let a notebook show a line and a table of the rewrites that changed a module, in place of all its layers."""
    applied = [step for step in steps if step.applied]
    table = markdown_table(("rewrite", "exactness", "sites", "proof or drift"), map(_row, applied))
    line = f"<rewritten: {', '.join(step.name for step in applied) or 'nothing'}>"
    # torch.fx makes a class for each graph, so that this one alone has them.
    type(graph).__repr__ = lambda _self: line  # type: ignore[method-assign]
    type(graph)._repr_markdown_ = lambda _self: table  # type: ignore[attr-defined]


def _row(step: StepReport) -> tuple[str, str, str, str]:
    proved = f"relative error {step.proof.relative_error:.1e} in float64" if step.proof else ""
    drift = f"drift {step.drift:.1e}" if step.drift is not None else ""
    return step.name, step.exactness, str(len(step.applied)), proved or drift
