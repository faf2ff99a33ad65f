"""What `mobilekit bench --json` printed, read again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mobilekit.bench.instructions.result import CountResult, FileCount
from mobilekit.bench.result import BenchOfDevices, BenchResult, FileResult
from mobilekit.bench.statistics import checked_ms
from mobilekit.errors import UsageError
from mobilekit.store.result import adapter

Bench = BenchResult | CountResult
"""Times on one device, or counts of instructions on one core."""
_MAKE = "`mobilekit bench FILE... --json` prints one, with --device emulated too."


def read_about(paths: Iterable[Path], digests: Iterable[str], what: Path) -> list[Bench]:
    """Return the results in files, one for each device or core.

    Args:
        paths: The files.
        digests: SHA-256 of the files of what is reported.
        what: That is reported.

    Raises:
        UsageError: A file cannot be read, holds something else, or is about none of those files.
    """
    known, benches = {*digests}, []
    for path in paths:
        found = about(_read(path), known)
        if not found:
            hint = f"The SHA-256 digests of what it measured are others: bench {what} as it is now."
            raise UsageError(f"{path} is about no file of {what}.", hint)
        benches += found
    return benches


def benches_in(content: Any) -> list[Bench]:
    """Return the results in JSON data.

    Raises:
        ValidationError: It is something else.
        ValueError: It has figures that cannot be.
    """
    kind: Any = CountResult if isinstance(content, Mapping) and "unit" in content else BenchResult | BenchOfDevices
    found = adapter(kind).validate_python(content)
    benches: list[Bench] = [*found.devices] if isinstance(found, BenchOfDevices) else [found]
    for each in (each for bench in benches for each in bench.results):
        _refuse_impossible(each)
    return benches


def _refuse_impossible(each: FileResult | FileCount) -> None:
    if isinstance(each, FileCount):
        if each.count and each.count.instructions < 1:
            raise ValueError(f"{each.file} has {each.count.instructions} instructions")
    elif latency := each.latency_ms:
        try:
            checked_ms(each.raw_ms)
            low, median, high = checked_ms((latency.low, latency.median, latency.high))
        except ValueError as error:
            raise ValueError(f"of {each.file}, {error}") from error
        if not latency.min <= low <= median <= high <= latency.max:
            raise ValueError(
                f"of {each.file}, the median of {median} ms is not within its interval, or that not in its range"
            )


def about(benches: Iterable[Bench], digests: Iterable[str]) -> list[Bench]:
    """Return the results that are about a file with one of these SHA-256 digests, each once."""
    known, found = {*digests}, []
    for bench in benches:
        if bench not in found and any(each.sha256 in known for each in bench.results):
            found.append(bench)
    return found


def _read(path: Path) -> list[Bench]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}.", _MAKE) from error
    try:
        return benches_in(content)
    except ValidationError as error:
        raise UsageError(f"{path} is no result of a bench.", _MAKE) from error
    except ValueError as error:
        raise UsageError(f"{path} has figures that cannot be: {error}.", _MAKE) from error
