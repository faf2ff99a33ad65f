"""Two sweeps, file by file: what became better or worse, as far as the figures tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mobilekit.bench.baseline import MARGIN, Baseline, compare_with_baseline
from mobilekit.store.jsonable import Jsonable
from mobilekit.sweep.folder import SweepFolder, read_sweep_note
from mobilekit.sweep.query import IDENTITY, IMPORTED, Row, latest
from mobilekit.sweep.rows import read_rows

Verdict = Literal["worse", "better", "inconclusive", "same", "new", "missing"]
_OF_LATENCY: Mapping[str, Verdict] = {"regressed": "worse", "improved": "better", "same": "same"}
_WORST_FIRST: tuple[Verdict, ...] = ("worse", "inconclusive", "better", "same")


@dataclass(frozen=True)
class Aspect(Jsonable):
    """One thing that was compared. `ratio` is now / then, with its 95 % interval where it was measured in rounds."""

    what: Literal["result", "parity", "size", "latency"]
    verdict: Verdict
    why: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ComparedFile(Jsonable):
    """One file of one cell."""

    model: str
    model_options: str
    """As JSON."""
    input_size: str | None
    recipe: str | None
    precision: str
    device: str | None
    threads: int | None
    """None: who imported its figures did not say."""
    source: str | None
    """`imported` where others measured it, ..."""
    tool: str | None
    """... by this tool."""
    verdict: Verdict
    """The worst of its aspects; inconclusive before better."""
    aspects: tuple[Aspect, ...]


@dataclass(frozen=True)
class ComparedSweeps(Jsonable):
    """All files of two sweeps, those of the newer one first."""

    old: str
    new: str
    files: tuple[ComparedFile, ...]

    @property
    def is_worse(self) -> bool:
        """Whether any file is worse, or missing: what is not made any more is no better."""
        return any(file.verdict in ("worse", "missing") for file in self.files)


def compare(old: Path, new: Path, margin: float = MARGIN) -> ComparedSweeps:
    """Compare each file with the same one of an earlier sweep.

    A file is the same one where model, options, size, recipe, precision, device and threads are, and who measured it.
    What others measured is never worse or better, and not missed. A file is worse where it failed or left its limits
    and did not before, where it is larger by more than the margin, or where the whole 95 % interval of the ratio of its
    latencies lies above it (see `bench.baseline.compare_with_baseline`); better likewise.

    Args:
        old: Folder of the earlier sweep.
        new: Folder of the later one.
        margin: Relative change of a latency or size up to which it counts as the same.

    Raises:
        ToolError: A file of rows is damaged.
        UsageError: A folder is no sweep.
    """
    then, now = _rows(old), _rows(new)
    files = [_compared(row, then.get(key), margin) for key, row in now.items()]
    gone = (row for key, row in then.items() if key not in now and row["source"] != IMPORTED)
    files += [_file(row, "missing", ()) for row in gone]
    return ComparedSweeps(str(old), str(new), tuple(files))


def _rows(folder: Path) -> dict[tuple[object, ...], Row]:
    read_sweep_note(folder)
    return {tuple(row[name] for name in IDENTITY): row for row in latest(read_rows(SweepFolder(folder).rows))}


def _compared(now: Row, then: Row | None, margin: float) -> ComparedFile:
    if then is None:
        return _file(now, "new", ())
    aspects = tuple(_aspects(now, then, margin))
    return _file(now, _worst(aspect.verdict for aspect in aspects), aspects)


def _worst(verdicts: Iterable[Verdict]) -> Verdict:
    return min(verdicts, key=_WORST_FIRST.index, default="same")


def _file(row: Row, verdict: Verdict, aspects: tuple[Aspect, ...]) -> ComparedFile:
    return ComparedFile(**{name: row[name] for name in IDENTITY}, verdict=verdict, aspects=aspects)


def _aspects(now: Row, then: Row, margin: float) -> Iterator[Aspect]:
    if "failed" in (now["status"], then["status"]):
        yield _result(now, then)
    if now["parity"] and then["parity"] and now["parity"] != then["parity"]:
        yield _parity(now, then)
    if now["size_bytes"] and then["size_bytes"]:
        yield _size(now["size_bytes"] / then["size_bytes"], margin)
    if now["baseline"] and then["baseline"]:
        yield _latency(now, then, margin)
    elif now["source"] == IMPORTED and now["latency_ms"] and then["latency_ms"]:
        ratio = now["latency_ms"] / then["latency_ms"]
        why = f"{100 * (ratio - 1):+.1f} %; imported figures have no interval"
        yield Aspect("latency", "inconclusive", why, ratio)


def _result(now: Row, then: Row) -> Aspect:
    if then["status"] == "ok":
        return Aspect("result", "worse", f"{now['failed_step']} failed: {now['reason']}")
    if now["status"] == "ok":
        return Aspect("result", "better", f"{then['failed_step']} failed before: {then['reason']}")
    return Aspect("result", "inconclusive", f"it failed in both: {now['reason']}")


def _parity(now: Row, then: Row) -> Aspect:
    why = f"it was {then['parity']} and is {now['parity']}"
    if "fail" in (now["parity"], then["parity"]):
        return Aspect("parity", "worse" if now["parity"] == "fail" else "better", why)
    return Aspect("parity", "inconclusive", why)


def _size(ratio: float, margin: float) -> Aspect:
    verdict: Verdict = "worse" if ratio > 1 + margin else "better" if ratio < 1 / (1 + margin) else "same"
    return Aspect("size", verdict, f"{100 * (ratio - 1):+.1f} %", ratio)


def _latency(now: Row, then: Row, margin: float) -> Aspect:
    [change] = compare_with_baseline(_baseline(now), _baseline(then), margin)
    verdict = _OF_LATENCY.get(change.verdict, "inconclusive")
    return Aspect("latency", verdict, change.why, change.ratio, change.low, change.high)


def _baseline(row: Row) -> Baseline:
    """Return a file's figures, under a name that is the same in both sweeps: a bundle's folder has a digest in it."""
    baseline = Baseline.model_validate_json(row["baseline"])
    entries = tuple(entry.model_copy(update={"file": "file"}) for entry in baseline.entries)
    return baseline.model_copy(update={"entries": entries})
