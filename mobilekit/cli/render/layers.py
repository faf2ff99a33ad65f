"""The values inside a model on the terminal: a line a module, then what stands out at each stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mobilekit.cli.render.format import NOTHING, count, figure, some
from mobilekit.models.names import distinct
from mobilekit.parity.layers.result import EQUAL, LayerRow, Layers, StageLayers, TensorError


def layers_table(layers: Layers) -> Group:
    """Return a table of the float stages, one of each stage of a smaller format, and a summary."""
    floats = [stage for stage in layers.measured if not is_rounded(stage)]
    rounded = [stage for stage in layers.measured if is_rounded(stage)]
    names = tap_names(layers)
    parts: list[RenderableType] = [_float_table(floats, names)]
    parts += [_rounded_table(stage, names) for stage in rounded]
    return Group(*parts, Text("\n".join(["", *summary(layers)])))


def tap_names(layers: Layers) -> dict[str, str]:
    """Return what each tap is called: its module, with the step where a module has several, and a number if need be."""
    met = Counter(tap.module for tap in layers.taps)
    words = [tap.module if met[tap.module] == 1 else f"{tap.module}: {tap.step}" for tap in layers.taps]
    return dict(zip((tap.tap for tap in layers.taps), distinct(words), strict=True))


def is_rounded(stage: StageLayers) -> bool:
    """Return whether a stage rounds to a smaller format than the one before."""
    return stage.stage.precision != "float32"


def summary(layers: Layers) -> list[str]:
    """Return what stands out: a sentence or two a stage, the observer effect, and what was left out."""
    inside = sum(not tap.is_output for tap in layers.taps)
    lines = [f"{count(inside, 'value')} inside the model, on {layers.inputs.count} inputs ({layers.inputs.real})."]
    names = tap_names(layers)
    lines += [_stands_out(stage, names) for stage in layers.measured]
    lacking = [names[tap.tap] for tap in layers.taps if tap.reference is None]
    if lacking:
        lines.append(
            f"{count(len(lacking), 'value')} without a counterpart in the reference, where a rewrite computes "
            f"something else on the way: {some(lacking)}."
        )
    near = [names[tap.tap] for tap in layers.taps if tap.reference and tap.reference.distance > EQUAL]
    if near:
        lines.append(
            f"{count(len(near), 'value')} compared with the nearest of the reference's same module, as an "
            f"approximate rewrite has changed them: {some(near)}."
        )
    return [*lines, *_observer(layers.stages), *layers.notes]


def _stands_out(stage: StageLayers, names: Mapping[str, str]) -> str:
    most = ", ".join(f"{names[row.tap]} ({figure(row.added)})" for row in stage.adds_most)
    first, jump = "no jump", stage.first_jump
    if jump and jump.step:
        found, limit = figure(jump.step.relative_l2), figure(jump.limit)
        first = f"the error jumps at {names[jump.tap]}: {found}, and the format explains {limit} there"
    return f"{stage.stage}: {first}; {f'most comes in at {most}' if most else 'nothing differs'}."


def _observer(stages: Sequence[StageLayers]) -> list[str]:
    """Say whether the tapped copies give the same final outputs as what they are copies of."""
    changed = [stage for stage in stages if not stage.observer.identical]
    if not changed:
        return ["The tapped copy gives the same final outputs as the model itself, to the bit, at every stage."]
    return [
        f"The tapped copy of {stage.stage} gives other final outputs than {stage.stage} itself (relative L2 "
        f"{figure(stage.observer.relative_l2)}): its figures are those of the copy."
        for stage in changed
    ]


def _float_table(stages: Sequence[StageLayers], names: Mapping[str, str]) -> RenderableType:
    """Return the float stages beside each other: each against the stage before, and the last against the reference."""
    columns = [(_narrow(stage.stage), [error(row.step) for row in stage.rows]) for stage in stages]
    columns.append(("total", [error(row.total) for row in stages[-1].rows]))
    heading = "Float stages: relative L2 against the stage before; total: of the last, against the reference"
    return _table(heading, [names[row.tap] for row in stages[-1].rows], columns, stages)


def _narrow(name: str) -> str:
    """Return a stage's name as the head of a narrow column."""
    return name.replace("simplified", "simpl.").replace("float32", "f32")


def _rounded_table(stage: StageLayers, names: Mapping[str, str]) -> RenderableType:
    columns = [
        ("step", [error(row.step) for row in stage.rows]),
        ("format", [figure(row.expected) for row in stage.rows]),
        ("total", [error(row.total) for row in stage.rows]),
        ("SQNR dB", [sqnr(row) for row in stage.rows]),
        ("worst ch.", [worst_channel(row) for row in stage.rows]),
    ]
    heading = (
        f"\n{stage.stage}: relative L2 against {stage.against} (step; format: what the format does by itself) "
        "and the reference (total)"
    )
    return _table(heading, [names[row.tap] for row in stage.rows], columns, [stage])


def _table(
    heading: str,
    names: Sequence[str],
    columns: Sequence[tuple[str, Sequence[str]]],
    stages: Sequence[StageLayers],
) -> RenderableType:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("module", overflow="fold")
    for name, _ in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for number, name in enumerate(names):
        jumps = any(stage.rows[number].jumps for stage in stages)
        table.add_row(name, *(cells[number] for _, cells in columns), style="bold red" if jumps else "")
    return Group(Text(heading), table)


def error(of: TensorError | None) -> str:
    """Return the relative L2 of an error that may not have been measured."""
    return figure(of.relative_l2) if of else NOTHING


def sqnr(row: LayerRow) -> str:
    """Return a row's signal to quantization noise against the stage before, in dB."""
    return figure(row.step.sqnr_db, ".1f") if row.step else NOTHING


def worst_channel(row: LayerRow) -> str:
    """Return the same of the channel where it is lowest."""
    return figure(row.step.worst_channel_db, ".1f") if row.step else NOTHING
