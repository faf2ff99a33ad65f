"""Instructions of bundles on ARM cores: the table of docs/arm.md.

`.venv/bin/python -m benchmarks.arm artifacts/ghostnetv2 artifacts/shufflenet` counts each bundle's files on each core,
after `mobilekit devices setup-emulated`. Counts are kept in mobilekit's cache folder: a file is counted once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.tables import DOCS, markdown, ran_on, write
from mobilekit.bench.artifacts import Artifact, find_artifacts
from mobilekit.bench.devices.emulator_setup import counted_litert, written
from mobilekit.bench.instructions import plugin_build
from mobilekit.bench.instructions.cores import CORES, CountedCore
from mobilekit.bench.instructions.count import count_files
from mobilekit.store.cache import default_folder
from mobilekit.store.files import write_json

PRECISIONS = ("float32", "dynamic", "int8")  # float16 files run float32's kernels


def count(path: Path, core: CountedCore) -> int | None:
    """Return a file's instructions on a core, from the disk where they were counted before; None where refused."""
    [artifact] = find_artifacts([path])
    key = f"{artifact.sha256[:16]}-{core.name}-{counted_litert()}-{plugin_build.digest()[:12]}"
    kept = default_folder() / "arm" / f"{key}.json"
    if not kept.exists():
        result = count_files([artifact], core, print)
        if not result.results[0].accepted:
            print(f"refused: {path}: {result.results[0].why_not}")
            return None
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_json(kept, result.to_json())
    return int(json.loads(kept.read_text())["results"][0]["count"]["instructions"])


def files_of(bundles: Sequence[Path]) -> list[Artifact]:
    """Return the files of bundles that are counted."""
    return [each for each in find_artifacts(bundles) if each.precision in PRECISIONS]


def millions(instructions: int | None) -> str:
    """Return a count as the tables have it."""
    return "refused" if instructions is None else f"{instructions / 1e6:.2f}"


def counted_with() -> str:
    """Say what counted."""
    return f"Counted with\nLiteRT {counted_litert()} under qemu {(written() or {}).get('qemu')}."


def _rows(bundles: Sequence[Path]) -> Iterator[list[str]]:
    """Yield a row for each bundle and precision, with a figure for each core in millions."""
    for artifact in files_of(bundles):
        figures = [millions(count(artifact.path, core)) for core in CORES]
        yield [Path(artifact.name).parent.name, artifact.precision, *figures]


def main() -> None:
    """Count, and write the table."""
    table = markdown(
        ("model", "precision", *(core.model for core in CORES)), _rows([Path(name) for name in sys.argv[1:]])
    )
    write(DOCS / "arm.md", "arm", f"{table}\n\nBy `benchmarks/arm.py` on {ran_on(['mobilekit'])} {counted_with()}")


if __name__ == "__main__":
    main()
