"""What comes of the pictures in apps, in words: what scaling costs there, and what each row of an app is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mobilekit.cli.render.format import figure
from mobilekit.parity.ledger.result import AppRow, GateResult, Ledger
from mobilekit.store.stages import TFLITE_STAGES, Stage

_CURE = (
    "Scale in the app as the recipe does, or let the recipe do as the app does and export again, such as by `--resize "
    "bilinear,plain`: docs/app.md has the ways."
)


def app_lines(ledger: Ledger) -> list[str]:
    """Return what scaling in an app costs beside the number formats, and a line for each way in which apps do it."""
    if not ledger.apps:
        return []
    rows = [row for row in ledger.apps if row.output == ledger.apps[0].output]
    given = f"Rows of apps are {rows[0].file}, given the pictures as an app makes them, against the reference:"
    alike: dict[tuple[str, float], list[AppRow]] = {}
    for row in rows:
        alike.setdefault((row.worst, row.worst_relative_l2), []).append(row)
    return [*_verdict(ledger, rows), given, *(f"  {_described(members)}" for members in alike.values())]


def gate_of(row: AppRow, ledger: Ledger) -> GateResult | None:
    """Return the gate that holds a row of an app; None where it is shown alone."""
    return next((gate for gate in ledger.gates if gate.gate == row.name), None)


def _verdict(ledger: Ledger, rows: Sequence[AppRow]) -> Iterator[str]:
    """Yield how apps compare with the last format that was made beside float32, which is int8 mostly."""
    totals = {stage: row for (stage, output), row in ledger.totals.items() if output == rows[0].output}
    stage = next((each for each in reversed(TFLITE_STAGES) if each in totals), None)
    if stage is None or stage is Stage.TFLITE_FLOAT32:
        return
    made, scaled = totals[stage], [row for row in rows if not row.is_mistake]
    if scaled:
        worst = max(scaled, key=lambda row: row.relative_l2)
        is_more = worst.relative_l2 > made.relative_l2
        yield (
            f"Scaling in the app costs {'more' if is_more else 'no more'} than {stage.precision}: {worst.name} is "
            f"{figure(worst.relative_l2)} off the reference (relative L2), {stage} {figure(made.relative_l2)}."
        )
        yield from [_CURE] if is_more else []
    hidden = [row.name for row in rows if row.is_mistake and row.top1_agreement >= made.top1_agreement]
    if hidden:
        yield f"Accuracy does not tell these mistakes from {stage.precision}: {', '.join(hidden)}."


def _described(rows: Sequence[AppRow]) -> str:
    """Return what apps do that come to the same, and the picture that suffers most."""
    what = "; ".join(f"{row.name}, {row.what}" for row in rows)
    first = rows[0]
    if not first.worst_relative_l2:
        return f"{what}: nothing changes."
    return f"{what}: {first.worst} changes most, by {figure(first.worst_relative_l2)}."
