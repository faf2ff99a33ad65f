"""What each step of a cell does, in a process of its own: the jobs that the commands of the same names do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilekit.errors import DeviceError, FullDiskError, MobilekitError
from mobilekit.models.names import NO_WEIGHTS, PRETRAINED
from mobilekit.store.bundle import Bundle, open_bundle
from mobilekit.store.worker_loop import serve
from mobilekit.sweep.cell import BENCH, DIFF, EXPORT, FLEET, Cell
from mobilekit.sweep.folder import SweepFolder
from mobilekit.sweep.load import model_in, recipe_in
from mobilekit.sweep.machine import alone, beside_others

if TYPE_CHECKING:
    from mobilekit.bench.bench import BenchRequest
    from mobilekit.bench.devices.base import Device
    from mobilekit.bench.result import BenchResult


_ANEW = "`mobilekit sweep run` with --resume --failed removes it, and makes it anew."


@dataclass(frozen=True)
class _Job:
    """A step that is asked for."""

    cell: Cell
    folder: SweepFolder
    base: Path

    def path(self, given: str | None) -> Path | None:
        return None if given is None else self.base / given

    @property
    def bundle(self) -> Bundle:
        return open_bundle(self.folder.bundle_of(self.cell))


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a step found; where it fails as tools fail, `why_not` and what to do next."""
    job = _Job(Cell.from_json(request["cell"]), SweepFolder(Path(request["folder"])), Path(request["base"]))
    step, _, target = request["step"].partition(":")
    try:
        if step == BENCH:
            return _bench(job)
        with beside_others():
            return _export(job) if step == EXPORT else _diff(job) if step == DIFF else _inspect(job, target)
    except MobilekitError as error:
        hint = _ANEW if "--force" in error.hint else error.hint  # which `mobilekit export` has, and a sweep has not
        return {"why_not": error.what, "hint": hint, "is_disk_full": isinstance(error, FullDiskError)}


def _export(job: _Job) -> dict[str, Any]:
    """Export the bundle of a cell on one core; see `mobilekit export`."""
    import torch

    from mobilekit.jobs.adjust import adjust
    from mobilekit.jobs.export import export
    from mobilekit.jobs.request import ExportRequest
    from mobilekit.jobs.source import Source, choose_recipe
    from mobilekit.store.cache import Cache

    torch.set_num_threads(1)
    cell = job.cell
    model = model_in(job.base, cell.model)
    weights = _weights(job)
    base = choose_recipe(model, None if cell.recipe is None else recipe_in(job.base, cell.recipe), weights)
    options = {**base.recipe.model_options, **cell.model_options}
    recipe = replace(base, recipe=base.recipe.model_copy(update={"model_options": options}))
    loaded = adjust(recipe, cell.input_size, precision=cell.precisions)
    source = Source(model, loaded, weights, job.path(cell.calibration), job.path(cell.inputs))
    request = ExportRequest(source, job.folder.bundle_of(cell), jobs=1)
    try:
        exported = export(request, Cache.default())
    except FileExistsError:  # the child of a worker that died came to its end all the same
        exported = export(request, Cache.default())
    return {"from_cache": exported.from_cache, "recipe": loaded.name}


def _weights(job: _Job) -> Path | None:
    words = {str(word): word for word in (NO_WEIGHTS, PRETRAINED)}
    given = job.cell.weights
    return job.path(given) if given not in words else words[given]


def _diff(job: _Job) -> dict[str, Any]:
    """Measure the bundle where it lies; see `mobilekit diff`."""
    import torch

    from mobilekit.jobs.diff import diff
    from mobilekit.models.names import file_spec

    torch.set_num_threads(1)
    model = model_in(job.base, job.cell.model)
    ledger = diff(job.bundle, job.path(job.cell.inputs), reference=model if file_spec(model) else None)
    return ledger.to_json()


def _inspect(job: _Job, target: str) -> dict[str, Any]:
    """Ask a target about the files; see `mobilekit inspect --target`."""
    from mobilekit.jobs.ask_targets import ask_targets

    return {"answers": [answer.to_json() for answer in ask_targets(job.bundle.path, target)]}


def _bench(job: _Job) -> dict[str, Any]:
    """Time the files; see `mobilekit bench`. On this machine nothing else of a sweep runs meanwhile."""
    if job.cell.device == "local":
        with alone():
            return _timed(job)
    return _timed(job)


def _timed(job: _Job) -> dict[str, Any]:
    from mobilekit.bench.artifacts import find_artifacts
    from mobilekit.bench.bench import BenchRequest, bench
    from mobilekit.bench.engine import RunSettings
    from mobilekit.bench.gates import as_baseline

    cell, timing = job.cell, job.cell.bench
    settings = RunSettings(cell.threads, timing["runs"], timing["warmup_runs"], timing["max_seconds"])
    artifacts = tuple(find_artifacts([job.bundle.path]))
    binary = _binary(timing.get("benchmark_binary"), job.base)
    request = BenchRequest(artifacts, settings, timing["rounds"], timing["seed"], binary)
    device = str(cell.device)
    if device.startswith(FLEET):
        result = _in_fleet(device, job.base / timing["fleet"], request)
    else:
        result = _first_free(_words_of(device, job.base), lambda word: bench(_device(word), request))
    return {"bench": result.to_json(), "baseline": as_baseline(result).model_dump(mode="json")}


def _in_fleet(word: str, fleet: Path, request: BenchRequest) -> BenchResult:
    """Bench on the first phone that nobody else uses, and wait as long as that takes: cells wait for each other."""
    from mobilekit.bench.bench import bench
    from mobilekit.bench.fleet.load import load_fleet
    from mobilekit.bench.fleet.pick import on_phone

    notes: list[str] = []
    result = on_phone(
        load_fleet(fleet),
        word,
        lambda taken: bench(taken.device, request, check=taken.check),
        lambda _message: None,
        notes.append,
        seconds=float("inf"),
    )
    return replace(result, notes=(*result.notes, *notes))


def _binary(given: str | None, base: Path) -> str | None:
    """Return a benchmark_model as `bench --benchmark-binary` takes it: a file beside the sweep's, or a version."""
    return str(base / given) if given and (base / given).is_file() else given


def _words_of(device: str, base: Path) -> list[str]:
    """Return the words of `bench --device` that a cell's device stands for: a model's is each phone of it."""
    kind, _, place = device.partition(":")
    if kind == "replay":
        return [f"replay:{base / place}"]
    if kind != "phone":
        return [device]
    from mobilekit.sweep.worker import find_phones

    phones = [f"adb:{phone.serial}" for phone in find_phones("all") if phone.model == place]
    if not phones:
        raise DeviceError(f"adb sees no phone that calls itself {place}.", "`mobilekit devices` lists what it sees.")
    return phones


def _device(word: str) -> Device:
    from mobilekit.bench.devices.select import find_devices

    [device] = find_devices(word).devices
    return device


def _first_free(words: Sequence[str], run: Callable[[str], BenchResult]) -> BenchResult:
    """Return what runs on the first device that nobody else uses, and wait until there is one."""
    from mobilekit.bench.devices.lock import DeviceBusyError

    while True:
        for word in words:
            with suppress(DeviceBusyError):
                return run(word)
        time.sleep(1)


if __name__ == "__main__":
    serve(_answer)
