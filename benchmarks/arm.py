"""Instructions of bundles on ARM cores, and misses of simulated caches: the tables of docs/arm.md.

`.venv/bin/python -m benchmarks.arm artifacts/ghostnetv2 artifacts/shufflenet` counts each bundle's files on each core,
after `mobilekit devices setup-emulated`. Counts are kept in mobilekit's cache folder: a file is counted once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.tables import DOCS, markdown, ran_on, write
from mobilekit.bench.artifacts import Artifact, find_artifacts
from mobilekit.bench.devices.emulator_setup import counted_litert, written
from mobilekit.bench.instructions import plugin_build
from mobilekit.bench.instructions.cores import CORES, CountedCore, core_named
from mobilekit.bench.instructions.count import count_files
from mobilekit.store.cache import default_folder
from mobilekit.store.files import write_json

_MISS_CORES = (core_named("a55"), core_named("a76"))
PRECISIONS = ("float32", "dynamic", "int8")  # float16 files run float32's kernels


def count(path: Path, core: CountedCore) -> int | None:
    """Return a file's instructions on a core, from the disk where they were counted before; None where refused."""
    counted = _counted(path, core)
    return None if counted is None else int(counted["instructions"])


def _counted(path: Path, core: CountedCore, cache_misses: bool = False) -> dict[str, Any] | None:
    [artifact] = find_artifacts([path])
    key = f"{artifact.sha256[:16]}-{core.name}-{counted_litert()}-{plugin_build.digest()[:12]}"
    kept = default_folder() / "arm" / f"{key}{'-misses' if cache_misses else ''}.json"
    if not kept.exists():
        result = count_files([artifact], core, print, cache_misses=cache_misses)
        if not result.results[0].accepted:
            print(f"refused: {path}: {result.results[0].why_not}")
            return None
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_json(kept, result.to_json())
    found: dict[str, Any] = json.loads(kept.read_text())["results"][0]["count"]
    return found


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


def _miss_rows(bundles: Sequence[Path]) -> Iterator[list[str]]:
    """Yield a row for each bundle and precision, with the misses of each cache of some cores in millions of lines."""
    for artifact in files_of(bundles):
        found = [_counted(artifact.path, core, cache_misses=True) for core in _MISS_CORES]
        figures = [millions(one["misses"][level] if one else None) for one in found for level in ("first", "second")]
        yield [Path(artifact.name).parent.name, artifact.precision, *figures]


def main() -> None:
    """Count, and write the tables."""
    bundles = [Path(name) for name in sys.argv[1:]]
    ran = f"By `benchmarks/arm.py` on {ran_on(['mobilekit'])} {counted_with()}"
    table = markdown(("model", "precision", *(core.model for core in CORES)), _rows(bundles))
    write(DOCS / "arm.md", "arm", f"{table}\n\n{ran}")
    caches = [f"{core.model}, {cache.kib} KiB" for core in _MISS_CORES for cache in core.caches]
    table = markdown(("model", "precision", *caches), _miss_rows(bundles))
    write(DOCS / "arm.md", "arm_misses", f"{table}\n\n{ran}")


if __name__ == "__main__":
    main()
