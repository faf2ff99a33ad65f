"""The values inside a model on the terminal: a line a module, then what stands out at each stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mobilekit.store.stages import Stage

Content = dict[str, Any]


def layers_table(content: Content) -> Group:
    """Return what `Layers.to_json` gives: a table of the float stages, one of each quantised stage, and a summary."""
    stages = [stage for stage in content["stages"] if stage["layers"]]
    floats = [stage for stage in stages if not is_quantised(stage)]
    quantised = [stage for stage in stages if is_quantised(stage)]
    parts: list[RenderableType] = [_float_table(floats)]
    parts += [_quantised_table(stage) for stage in quantised]
    return Group(*parts, Text("\n".join(["", *summary(content)])))


def is_quantised(stage: Content) -> bool:
    """Return whether a stage rounds to a smaller format than the one before."""
    return Stage(stage["stage"]).precision != "float32"


def summary(content: Content) -> list[str]:
    """Return what stands out: a sentence or two a stage, the observer effect, and what was left out."""
    inputs, stages = content["inputs"], content["stages"]
    inside = sum(not tap["is_output"] for tap in content["taps"])
    lines = [f"{inside} values inside the model, on {inputs['count']} inputs ({inputs['real']})."]
    lines += [_stands_out(stage) for stage in stages if stage["layers"]]
    lacking = [tap["module"] for tap in content["taps"] if tap["reference"] is None]
    if lacking:
        lines.append(
            f"{_count(len(lacking), 'value')} without a counterpart in the reference, where a rewrite computes "
            f"something else on the way: {_some(lacking)}."
        )
    near = [tap["module"] for tap in content["taps"] if tap["reference"] and tap["reference"]["distance"] > _EQUAL]
    if near:
        lines.append(
            f"{_count(len(near), 'value')} compared with the nearest of the reference's same module, as an "
            f"approximate rewrite has changed them: {_some(near)}."
        )
    return [*lines, *_observer(stages), *content["notes"]]


_EQUAL = 1e-9  # mobilekit.parity.layers.counterparts has it; importing that would load torch


def _stands_out(stage: Content) -> str:
    jump = next((row for row in stage["layers"] if row["jumps"]), None)
    named = {row["module"]: row for row in sorted(stage["layers"], key=lambda row: row["added_relative_l2"] or 0)}
    most = ", ".join(f"{name} ({figure(named[name]['added_relative_l2'])})" for name in stage["adds_most"])
    first = "no jump"
    if jump:
        found, limit = figure(jump["step"]["relative_l2"]), figure(jump["limit_relative_l2"])
        first = f"the error jumps at {jump['module']}: {found}, and the format explains {limit} there"
    return f"{stage['stage']}: {first}; {f'most comes in at {most}' if most else 'nothing differs'}."


def _observer(stages: Sequence[Content]) -> list[str]:
    """Say whether the tapped copies give the same final outputs as what they are copies of."""
    changed = [stage for stage in stages if not stage["observer"]["identical"]]
    if not changed:
        return ["The tapped copy gives the same final outputs as the model itself, to the bit, at every stage."]
    return [
        f"The tapped copy of {stage['stage']} gives other final outputs than {stage['stage']} itself (relative L2 "
        f"{figure(stage['observer']['relative_l2'])}): its figures are those of the copy."
        for stage in changed
    ]


def _float_table(stages: Sequence[Content]) -> RenderableType:
    """Return the float stages beside each other: each against the stage before, and the last against the reference."""
    columns = [(_narrow(stage["stage"]), [_error(row, "step") for row in stage["layers"]]) for stage in stages]
    columns.append(("total", [_error(row, "total") for row in stages[-1]["layers"]]))
    heading = "Float stages: relative L2 against the stage before; total: of the last, against the reference"
    return _table(heading, stages[-1]["layers"], columns, stages)


def _quantised_table(stage: Content) -> RenderableType:
    rows = stage["layers"]
    columns = [
        ("step", [_error(row, "step") for row in rows]),
        ("format", [figure(row["expected_relative_l2"]) for row in rows]),
        ("total", [_error(row, "total") for row in rows]),
        ("SQNR dB", [decibels(row, "sqnr_db") for row in rows]),
        ("worst ch.", [decibels(row, "worst_channel_db") for row in rows]),
    ]
    heading = (
        f"\n{stage['stage']}: relative L2 against {stage['against']} (step; format: what the format does by itself) "
        "and the reference (total)"
    )
    return _table(heading, rows, columns, [stage])


def _table(
    heading: str, rows: Sequence[Content], columns: Sequence[tuple[str, Sequence[str]]], stages: Sequence[Content]
) -> RenderableType:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("module", overflow="fold")
    for name, _ in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for number, row in enumerate(rows):
        jumps = any(stage["layers"][number]["jumps"] for stage in stages)
        table.add_row(row["module"], *(cells[number] for _, cells in columns), style="bold red" if jumps else "")
    return Group(Text(heading), table)


def figure(value: float | None) -> str:
    """Return an error in two digits."""
    return "-" if value is None else f"{value:.1e}"


def decibels(row: Content, name: str) -> str:
    """Return a row's signal to noise against the stage before."""
    value = row["step"][name] if row["step"] else None
    return "-" if value is None else f"{value:.1f}"


def _narrow(name: str) -> str:
    """Return a stage's name as the head of a narrow column."""
    return name.replace("simplified", "simpl.").replace("float32", "f32")


def _error(row: Content, kind: str) -> str:
    return figure(row[kind]["relative_l2"]) if row[kind] else "-"


def _count(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _some(names: Sequence[str], most: int = 4) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
