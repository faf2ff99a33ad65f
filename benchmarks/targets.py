"""What each target takes of the artifacts of bundles, and what it computes: the table of docs/targets.md.

    python -m benchmarks.targets BUNDLE... --rows FILE [--targets cpu,gpu,...]
    python -m benchmarks.targets --table FILE [FILE...] [--write]

The first measures, and writes rows to FILE; a real GPU is measured on its own machine, with its Vulkan driver named in
VK_DRIVER_FILES. The second puts the rows of such files into docs/targets.md.

Figures are relative L2 to ONNX Runtime's run of the bundle's model.onnx on the recipe's evaluation inputs, the largest
of any input. A GPU with float16 computes each file in float32 and in float16.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks import tables
from mobilekit.artifacts.open import open_artifact
from mobilekit.artifacts.runtime import Arrays
from mobilekit.errors import ToolError
from mobilekit.jobs.ask_targets import ask_targets
from mobilekit.jobs.bundle_models import recipe_of_bundle
from mobilekit.jobs.target_files import OWN_FORMS
from mobilekit.recipes.inputs.builtin import evaluation_inputs
from mobilekit.store.bundle import open_bundle, output_layouts
from mobilekit.store.files import write_json
from mobilekit.store.stages import TFLITE_STAGES, Stage
from mobilekit.targets.gpu import GPUProcess

WRONG = 0.25
"""Of relative L2: from here on the file is of no use there, and its figure stands in bold."""


@dataclass(frozen=True)
class Row:
    """One file on one target."""

    model: str
    file: str
    target: str
    asked: str
    taken: int
    total: int
    partitions: int | None
    float32: float | None = None
    """Relative L2; None where it was not run."""
    float16: float | None = None
    """The same in float16 arithmetic."""
    failed: str = ""
    """Why it could not be run."""
    wrong: int = 0
    """Ops that it takes and is known to compute wrongly."""


def main() -> None:
    """Measure, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="*", type=Path)
    parser.add_argument("--targets", default="cpu,gpu")
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--table", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    if given.table:
        text = table([json.loads(path.read_text()) for path in given.table])
        if given.write:
            tables.write(tables.DOCS / "targets.md", "targets", text)
        else:
            print(text)
        return
    rows = [asdict(row) for bundle in given.bundles for row in measure(bundle, given.targets)]
    machine = f"{platform.system()} on {platform.machine()}"
    write_json(given.rows, {"date": datetime.now(UTC).date().isoformat(), "machine": machine, "rows": rows})


def measure(path: Path, targets: str) -> list[Row]:
    """Return a row for each file of a bundle and each target that reads it."""
    bundle = open_bundle(path)
    inputs = evaluation_inputs(recipe_of_bundle(bundle).recipe).inputs
    reference = open_artifact(path / "model.onnx", {}).run(inputs)
    layouts = output_layouts(path)
    rows = []
    for answer in ask_targets(path, targets):
        float32 = float16 = None
        failed = ""
        file = path / answer.file
        if answer.target == "cpu":
            float32 = distance(reference, open_artifact(file, layouts).run(inputs))
        elif answer.target == "gpu" and answer.is_whole:
            float32, float16, failed = on_gpu(file, layouts, inputs, reference)
        wrong = sum(each.count for each in answer.wrong)
        figures = (answer.taken, answer.total, answer.partitions, float32, float16, failed, wrong)
        rows.append(Row(path.name, answer.file, answer.target, answer.asked, *figures))
        print(rows[-1])
    return rows


def on_gpu(
    file: Path, layouts: dict[str, str], inputs: Arrays, reference: Arrays
) -> tuple[float | None, float | None, str]:
    """Return how far a file is off in float32 and in float16 on the GPU, and why it could not be run."""
    found: dict[bool, float | None] = {True: None, False: None}
    failed = []
    with GPUProcess() as process:
        for float16 in (False, True) if process.has_float16() else (False,):
            try:
                found[float16] = distance(reference, process.run(file, layouts, inputs, float16))
            except ToolError as error:
                failed.append(f"{'float16' if float16 else 'float32'}: {error.what}")
    return found[False], found[True], "; ".join(failed)


def distance(reference: Arrays, found: Arrays) -> float:
    """Return the largest relative L2 of any input and output."""
    pairs = [pair for name in reference for pair in zip(reference[name], found[name], strict=True)]
    return max(float(np.linalg.norm(b.astype(float) - a) / np.linalg.norm(a.astype(float))) for a, b in pairs)


def table(measured: list[dict[str, object]]) -> str:
    """Return the rows of several machines as Markdown, the files one below the other, the targets side by side."""
    rows = [Row(**row) for each in measured for row in each["rows"]]  # type: ignore[attr-defined]
    columns = list(dict.fromkeys((row.target, row.asked) for row in rows))
    named = "".join(f"- **{number}**: `{name}`, {asked}\n" for number, (name, asked) in enumerate(columns, 1))
    dates = ", ".join(sorted({str(each["date"]) for each in measured}))
    lines = [
        f"Measured {dates}:\n\n{named}",
        f"| file | {' | '.join(str(number) for number in range(1, len(columns) + 1))} |",
        f"|---|{'---|' * len(columns)}",
    ]
    stages = [Stage.ONNX_SIMPLIFIED, Stage.ONNX_INT8, Stage.ONNX_INT16X8, *TFLITE_STAGES]
    order = [name for stage in stages for name in (stage.file, *map(stage.own_file, OWN_FORMS))]
    files = sorted({(row.model, row.file) for row in rows}, key=lambda one: (one[0], order.index(one[1])))
    by_place = {(row.model, row.file, row.target, row.asked): row for row in rows}
    for model, file in files:
        cells = [_cell(by_place.get((model, file, *column))) for column in columns]
        lines.append(f"| {model}, {file.removeprefix('model.')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: Row | None) -> str:
    if row is None:
        return "-"
    is_whole = row.taken == row.total and row.partitions in (None, 1)
    parts = f"{row.taken} of {row.total}" + (f" in {row.partitions}" if row.partitions else "")
    figures = [_figure(one, word) for one, word in ((row.float32, ""), (row.float16, " in float16")) if one is not None]
    figures += [f"**{row.wrong} computed wrongly**"] if row.wrong and not figures else []
    figures += ["**its shader is refused**"] if "refuses itself" in row.failed else []
    return ", ".join(["whole" if is_whole else parts, *figures])


def _figure(value: float, word: str) -> str:
    text = f"{value:.1e}" if value < WRONG else f"**{value:.2g}**"
    return text + word


if __name__ == "__main__":
    main()
