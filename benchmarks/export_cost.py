"""What an export costs beside the bare chain of the same tools, run by hand.

    .venv/bin/python benchmarks/export_cost.py [--rounds 3] [--write]

The chain: torch.onnx and onnxsim in one Python process, then onnx2tf's command line, for GhostNetV2 at 224 with DFC as
convolutions; float32 and float16 TFLite, nothing measured or proved. Chain and exports take turns. Wall time is of the
whole command; memory is the largest sum of the resident sizes of its processes, seen every 20 ms. `--write` puts the
table into docs/cost.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import psutil

BIN = Path(sys.executable).parent
DOCS = Path(__file__).parents[1] / "docs" / "cost.md"
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
torch.onnx.export(model.eval(), torch.zeros(1, 3, 224, 224), "raw.onnx", dynamo=False, opset_version=17)
simplified, agrees = onnxsim.simplify(onnx.load("raw.onnx"))
assert agrees
onnx.save(simplified, "model.onnx")
"""
TOOLS = ("torch", "onnx", "onnxsim", "onnx2tf", "tensorflow", "ai-edge-litert")


def measure(command: list[str], folder: Path) -> tuple[float, float]:
    """Run a command and return its wall time in seconds and its peak memory in MB, children included."""
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "MOBILEKIT_CACHE": str(folder / "cache"),
    }
    start = time.perf_counter()
    process = psutil.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident(process))
        time.sleep(0.02)
    if process.returncode != 0:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return time.perf_counter() - start, peak / 2**20


def resident(process: psutil.Process) -> int:
    """Return the resident bytes of a process and its children."""
    total = 0
    try:
        for member in [process, *process.children(recursive=True)]:
            total += member.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def run_round(folder: Path) -> dict[str, tuple[float, float]]:
    """Measure the chain and each kind of export once."""
    (folder / "chain.py").write_text(CHAIN)
    export = [sys.executable, "-m", "mobilekit", "export", "ghostnetv2"]
    first = measure([sys.executable, "-W", "ignore", "chain.py"], folder)
    second = measure([str(BIN / "onnx2tf"), "-i", "model.onnx", "-o", "chain", "-n"], folder)
    chain = (first[0] + second[0], max(first[1], second[1]))
    return {
        "chain, float32 and float16": chain,
        "export, float32 and float16": measure(
            [*export, "--no-cache", "--precision", "float32,float16", "-o", "two"], folder
        ),
        "export, all four": measure([*export, "-o", "four"], folder),
        "export again, nothing changed": measure([*export, "-o", "four"], folder),
        "export to a new folder, nothing changed": measure([*export, "-o", "copy"], folder),
    }


def main() -> None:
    """Measure, print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    rounds = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            sample = Path(folder) / "calibration_image_sample_data_20x128x128x3_float32.npy"
            _write_sample(sample)  # without it onnx2tf downloads one
            rounds.append(run_round(Path(folder)))
        print(f"round {number + 1}: " + ", ".join(f"{name} {value[0]:.1f} s" for name, value in rounds[-1].items()))
    table = make_table(rounds)
    print(table)
    if options.write:
        _, heading, others = DOCS.read_text().partition("\n## ")  # other scripts' sections
        DOCS.write_text(table + heading + others)


def _write_sample(path: Path) -> None:
    import numpy as np

    np.save(path, np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32))


def make_table(rounds: list[dict[str, tuple[float, float]]]) -> str:
    """Return the medians, and the medians of the ratios to the chain of the same round, as Markdown."""
    chain = next(iter(rounds[0]))
    lines = []
    for name in rounds[0]:
        seconds = statistics.median(one[name][0] for one in rounds)
        memory = statistics.median(one[name][1] for one in rounds)
        time_ratio = statistics.median(one[name][0] / one[chain][0] for one in rounds)
        memory_ratio = statistics.median(one[name][1] / one[chain][1] for one in rounds)
        lines.append(f"| {name} | {seconds:.1f} | {time_ratio:.2f} | {memory:.0f} | {memory_ratio:.2f} |")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in TOOLS)
    return "\n".join(
        [
            "# What an export costs",
            "",
            "GhostNetV2 at 224, beside the bare chain of the same tools run by hand (torch.onnx, onnxsim, onnx2tf; it",
            "proves and measures nothing). The exports include proofs, the ledger and every check.",
            "",
            "| | wall time, s | of the chain's | peak memory, MB | of the chain's |",
            "|---|---|---|---|---|",
            *lines,
            "",
            f"Medians of {len(rounds)} rounds in turns, by `benchmarks/export_cost.py` on {datetime.date.today()}:",
            f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}.",
            "",
        ]
    )


def processor() -> str:
    """Return the processor's name and architecture."""
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return f"{line.split(':', 1)[1].strip()}, {platform.machine()}"
    return platform.machine()


if __name__ == "__main__":
    main()
