"""Instructions of bundles on ARM cores: the table of docs/arm.md.

`.venv/bin/python -m benchmarks.arm artifacts/ghostnetv2 artifacts/shufflenet` counts each bundle's files on each core,
after `mobilekit devices setup-emulated`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.tables import DOCS, markdown, ran_on, write
from mobilekit.bench.artifacts import find_artifacts
from mobilekit.bench.instructions.cores import CORES
from mobilekit.bench.instructions.count import count_files
from mobilekit.bench.instructions.result import CountResult

PRECISIONS = ("float32", "dynamic", "int8")  # float16 files run float32's kernels


def rows(bundles: Sequence[Path]) -> Iterator[list[str]]:
    """Yield a row for each bundle and precision, with a figure for each core in millions."""
    artifacts = [each for each in find_artifacts(bundles) if each.precision in PRECISIONS]
    results = [count_files(artifacts, core, print) for core in CORES]
    for number, artifact in enumerate(artifacts):
        figures = [_figure(result, number) for result in results]
        yield [Path(artifact.name).parent.name, artifact.precision, *figures]


def _figure(result: CountResult, number: int) -> str:
    count = result.results[number].count
    return f"{count.instructions / 1e6:.2f}" if count else "refused"


def main() -> None:
    """Count, and write the table."""
    from mobilekit.bench.devices.emulator_setup import counted_litert, written

    table = markdown(
        ("model", "precision", *(core.model for core in CORES)), rows([Path(name) for name in sys.argv[1:]])
    )
    made = written() or {}
    versions = f"Counted with\nLiteRT {counted_litert()} under qemu {made.get('qemu')}."
    write(DOCS / "arm.md", "arm", f"{table}\n\nBy `benchmarks/arm.py` on {ran_on(['mobilekit'])} {versions}")


if __name__ == "__main__":
    main()
