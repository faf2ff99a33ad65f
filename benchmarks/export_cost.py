"""What an export costs beside the bare chain of the same tools, run by hand, and beside an earlier version.

    .venv/bin/python benchmarks/export_cost.py [--rounds 3] [--earlier CHECKOUT] [--write]

The chain: torch.onnx and onnxsim in one Python process, then onnx2tf's command line, for GhostNetV2 at 224 with DFC as
convolutions; the same four TFLite files, nothing measured or proved. Chain and exports take turns. Wall time is of the
whole command; processor time is its and its children's; memory is the largest sum of the resident sizes of its
processes, seen every 20 ms. `--earlier` is a checkout of another version, which is run with the packages of its own
`.venv`. `--write` puts the table into docs/cost.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from benchmarks.onnx2tf_command import BY_TENSORFLOW, UNCHANGED
from mobilekit.jobs.source import recipe_of_model
from mobilekit.recipes.inputs.builtin import evaluation_inputs
from mobilekit.store.versions import installed_version

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs" / "cost.md"
CHAIN = """
import onnx, onnxsim, torch
from mobilekit.models.dfc import SharedFullyConnected
from mobilekit.models.registry import find_model
from mobilekit.rewrites.shared.dfc import depthwise_along

torch.set_num_threads(1)
model = find_model("ghostnetv2").create()
for path, module in list(model.named_modules()):
    if isinstance(module, SharedFullyConnected):
        model.set_submodule(path, depthwise_along(module.axis, module.weight))
picture = torch.zeros(1, 3, 224, 224)
torch.onnx.export(model.eval(), picture, "raw.onnx", dynamo=False, opset_version=17, input_names=["input"])
simplified, agrees = onnxsim.simplify(onnx.load("raw.onnx"))
assert agrees
onnx.save(simplified, "model.onnx")
"""
EARLIER = "earlier version"
TOOLS = ("torch", "onnx", "onnxsim", "onnx2tf", "tensorflow", "ai-edge-litert")


class Cost(NamedTuple):
    """Of a command and its children."""

    wall: float
    """Seconds."""
    processor: float
    """Seconds."""
    memory: float
    """Largest sum of resident sizes, MB."""


def measure(command: list[str], folder: Path, sources: Path = ROOT) -> Cost:
    """Run a command with mobilekit's sources from a checkout, and return what it costs."""
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(sources),
        "MOBILEKIT_CACHE": str(folder / f"cache-{sources.name}"),
    }
    start, before = time.perf_counter(), _processor_time()
    process = psutil.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident(process))
        time.sleep(0.02)
    if process.returncode != 0:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return Cost(time.perf_counter() - start, _processor_time() - before, peak / 2**20)


def _processor_time() -> float:
    """Return the seconds that processes took which this one has started and which have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def resident(process: psutil.Process) -> int:
    """Return the resident bytes of a process and its children."""
    total = 0
    try:
        for member in [process, *process.children(recursive=True)]:
            total += member.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def run_round(folder: Path, earlier: Path | None) -> dict[str, Cost]:
    """Measure the chain and each kind of export once."""
    (folder / "chain.py").write_text(CHAIN)
    words = ["-m", "mobilekit", "export", "ghostnetv2"]
    export = [sys.executable, *words]
    calibration = ["-cind", "input", "calibration.npy", *UNCHANGED]
    first = measure([sys.executable, "-W", "ignore", "chain.py"], folder)
    second = measure(
        [str(BIN / "onnx2tf"), "-i", "model.onnx", "-o", "chain", "-n", *BY_TENSORFLOW, "-oiqt", *calibration], folder
    )
    found = {
        "chain, all four": Cost(first[0] + second[0], first[1] + second[1], max(first[2], second[2])),
        "export, all four": measure([*export, "--no-cache", "-o", "four"], folder),
        "export, all four, `--jobs 1`": measure([*export, "--no-cache", "--jobs", "1", "-o", "alone"], folder),
        "export, float32": measure([*export, "--no-cache", "--precision", "float32", "-o", "one"], folder),
    }
    if earlier:
        before = [str(earlier / ".venv" / "bin" / "python"), *words, "--no-cache"]
        found |= {
            f"{EARLIER}, all four": measure([*before, "-o", "old-four"], folder, earlier),
            f"{EARLIER}, float32": measure([*before, "--precision", "float32", "-o", "old-one"], folder, earlier),
        }
    measure([*export, "-o", "kept"], folder)  # into the cache
    return found | {
        "export again, nothing changed": measure([*export, "-o", "kept"], folder),
        "export to a new folder, nothing changed": measure([*export, "-o", "copy"], folder),
    }


def main() -> None:
    """Measure, print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--earlier", type=Path, help="folder with the sources of another version")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    rounds = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            sample = Path(folder) / "calibration_image_sample_data_20x128x128x3_float32.npy"
            _write_sample(sample)  # without it onnx2tf downloads one
            rounds.append(run_round(Path(folder), options.earlier and options.earlier.absolute()))
        print(
            f"round {number + 1}: "
            + ", ".join(
                f"{name} {value.wall:.1f} s, {value.processor:.1f} s, {value.memory:.0f} MB"
                for name, value in rounds[-1].items()
            )
        )
    table = make_table(rounds, _commit(options.earlier) if options.earlier else None)
    print(table)
    if options.write:
        _, heading, others = DOCS.read_text().partition("\n## ")  # other scripts' sections
        DOCS.write_text(table + heading + others)


def _write_sample(path: Path) -> None:
    np.save(path, np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32))
    pictures = evaluation_inputs(recipe_of_model("ghostnetv2").recipe).inputs["input"]
    np.save(path.parent / "calibration.npy", pictures.transpose(0, 2, 3, 1))


def make_table(rounds: list[dict[str, Cost]], earlier: str | None) -> str:
    """Return the medians, and the medians of the ratios to the chain of the same round, as Markdown."""
    chain = next(iter(rounds[0]))
    lines = []
    for name in rounds[0]:
        cells = []
        for figure, digits in (("wall", 1), ("processor", 1), ("memory", 0)):
            own = statistics.median(getattr(one[name], figure) for one in rounds)
            ratio = statistics.median(getattr(one[name], figure) / getattr(one[chain], figure) for one in rounds)
            cells += [f"{own:.{digits}f}", f"{ratio:.2f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    versions = ", ".join(f"{name} {installed_version(name)}" for name in TOOLS)
    return "\n".join(
        [
            "# What an export costs",
            "",
            "GhostNetV2 at 224, beside the bare chain of the same tools run by hand (torch.onnx, onnxsim, onnx2tf; it",
            "proves and measures nothing). The exports include proofs, the ledger and every check.",
            "",
            "| | wall, s | of the chain's | processor, s | of the chain's | peak memory, MB | of the chain's |",
            "|---|---|---|---|---|---|---|",
            *lines,
            *_beside_earlier(rounds, earlier),
            "",
            f"{_counted(len(rounds))} in turns, by `benchmarks/export_cost.py` on {datetime.date.today()}:",
            f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}.",
            "",
        ]
    )


def _counted(rounds: int) -> str:
    return "One round" if rounds == 1 else f"Medians of {rounds} rounds"


def _beside_earlier(rounds: list[dict[str, Cost]], earlier: str | None) -> list[str]:
    """Return the medians of the ratios to the earlier version in the same round, in a sentence for each export."""
    sentences = [""] if earlier else []
    for what in ("all four", "float32") if earlier else ():
        now, before = ([one[f"{who}, {what}"] for one in rounds] for who in ("export", EARLIER))
        ratios = [statistics.median(a[i] / b[i] for a, b in zip(now, before, strict=True)) for i in range(3)]
        sentences.append(
            f"Of what commit {earlier} takes with its own packages, an export of {what} takes {ratios[0]:.2f} of "
            f"the wall time, {ratios[1]:.2f} of the processor time and {ratios[2]:.2f} of the memory."
        )
    return sentences


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def processor() -> str:
    """Return the processor's name and architecture."""
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return f"{line.split(':', 1)[1].strip()}, {platform.machine()}"
    return platform.machine()


if __name__ == "__main__":
    main()
