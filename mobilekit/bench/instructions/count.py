"""Counts the instructions of files on an ARM core."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mobilekit.artifacts.litert import LiteRTRuntime, check_whole
from mobilekit.bench.artifacts import Artifact, printable
from mobilekit.bench.attribution import place
from mobilekit.bench.devices import emulator_setup as setup
from mobilekit.bench.instructions import plugin_build as plugin
from mobilekit.bench.instructions.cores import CountedCore
from mobilekit.bench.instructions.kernels import ops_run_by, prepares, short_name
from mobilekit.bench.instructions.library import Library, read_library
from mobilekit.bench.instructions.record import parse_record
from mobilekit.bench.instructions.result import Count, CountComparison, CountResult, FileCount, StepCount
from mobilekit.bench.instructions.steps import Step, agreed, read_steps
from mobilekit.bench.kinds import Op, module_group, read_ops
from mobilekit.errors import ToolError
from mobilekit.targets.debian import run_tool

Progress = Callable[[str], None]

NOT_TIME = "These are instructions, not times: they compare with counts of the same core, precision and LiteRT alone."
_MISSES = (
    "Misses are lines of 64 bytes that simulated caches without prefetching did not have: where memory is asked for, "
    "not how long that takes."
)
_NO_DOT = "this core has no dot products: int8 took .31 of float32's time on such phones where .83 was counted"
_MODEL, _REPLY, _OUT, _ROOT, _SOURCES = "model.tflite", "reply.json", "counts", "root", "sources"
_AROUND = "around kernels"
_QUANTIZED = ("dynamic", "int8", "int16x8")


@dataclass(frozen=True)
class _Reply:
    """What the process inside told beside the counts."""

    version: str
    partitions: list[list[int]]
    """The ops of the file inside each part that XNNPACK runs."""
    steps: list[Step]


def count_files(
    artifacts: Sequence[Artifact],
    core: CountedCore,
    progress: Progress = lambda _message: None,
    *,
    cache_misses: bool = False,
) -> CountResult:
    """Count one inference of each file on a core.

    Args:
        artifacts: The files.
        core: Whose kernels run.
        progress: Is told what is being done.
        cache_misses: Simulate the core's caches of data as well, which takes twice the time.

    Raises:
        ToolError: The emulated device is not set up, or has no plugin.
    """
    if problem := setup.find_count_problem():
        raise problem
    root = setup.folder()
    library = read_library(setup.library(root))
    results = []
    for artifact in artifacts:
        progress(f"counting {artifact.name} on {core.model}")
        results.append(_file_count(artifact, core, root, library, cache_misses))
    made = setup.written() or {}
    comparisons = tuple(_comparisons(artifacts, results, core))
    return CountResult(
        device="emulated",
        unit="instructions",
        core=core,
        litert=setup.counted_litert(),
        qemu=made.get("qemu", ""),
        plugin_sha256=plugin.digest(),
        threads=1,
        results=tuple(results),
        comparisons=comparisons,
        notes=(NOT_TIME, *((_MISSES,) if cache_misses else ()), *dearer(results, comparisons)),
    )


def _file_count(artifact: Artifact, core: CountedCore, root: Path, library: Library, cache_misses: bool) -> FileCount:
    count, why_not = None, None
    try:
        count = _count(artifact, core, root, library, cache_misses)
    except ToolError as error:
        why_not = error.what
    return FileCount(
        file=artifact.name,
        path=printable(str(artifact.path)),
        sha256=artifact.sha256,
        precision=artifact.precision,
        size_mb=artifact.path.stat().st_size / 1e6,
        accepted=count is not None,
        why_not=why_not,
        count=count,
    )


def _count(artifact: Artifact, core: CountedCore, root: Path, library: Library, cache_misses: bool) -> Count:
    check_whole(artifact.path)
    ops = read_ops(artifact.path, artifact.alignment())
    reply = _run(artifact.path, core, root, library, cache_misses)
    if not reply.partitions and LiteRTRuntime(artifact.path).partitions():
        raise ToolError(f"XNNPACK does not run {artifact.name} on the emulated core, as it does here.")
    return count_of(reply.steps, reply.partitions, ops, artifact.alignment() is not None)


def _run(path: Path, core: CountedCore, root: Path, library: Library, cache_misses: bool) -> _Reply:
    """Run a file in the ARM Python, and return what ran.

    Raises:
        ToolError: LiteRT refused the file, or two inferences did not agree.
    """
    with TemporaryDirectory(prefix="mobilekit-") as scratch:
        folder = Path(scratch)
        # The same names whatever the user's are: see `counting_command`.
        for name, target in ((_MODEL, path.absolute()), (_ROOT, root), (_SOURCES, Path(__file__).parents[3])):
            (folder / name).symlink_to(target)
        words = ["-m", "mobilekit.bench.instructions.inside", _MODEL, _REPLY, *map(str, library.stops)]
        command = setup.counting_command(Path(_ROOT), core, Path(_OUT), words, [_SOURCES], cache_misses=cache_misses)
        run_tool(command, f"{path.name} cannot be run on the emulated core", folder, "Convert or export it again.")
        record = parse_record((folder / _OUT).read_text().splitlines())
        reply: dict[str, Any] = json.loads((folder / _REPLY).read_text())
    name_of = _names(library, reply)
    steps = agreed([read_steps(segments, record.pieces, library, name_of) for segments in record.inferences])
    return _Reply(reply["version"], reply["partitions"], steps)


def _names(library: Library, reply: Mapping[str, Any]) -> Callable[[int], str]:
    """Return what gives the function at an address, or else the file that it is from."""

    def name_of(address: int) -> str:
        if function := library.function_at(address - reply["base"]):
            return function
        return next((Path(path).name for start, end, path in reply["libraries"] if start <= address < end), "unknown")

    return name_of


def count_of(steps: Sequence[Step], partitions: Sequence[Sequence[int]], ops: Sequence[Op], has_modules: bool) -> Count:
    """Return the count of a file.

    Args:
        steps: What ran.
        partitions: The indices of the ops inside each partition.
        ops: All ops of the file.
        has_modules: The file's bundle tells the modules of its ops.
    """
    ran = [step for step in steps if step.kind != "runtime"]
    counted = [_step_count(step, op) for step, op in zip(ran, _ops_of(ran, partitions, ops), strict=True)]
    misses = [each.misses for each in counted if each.misses]
    return Count(
        instructions=sum(each.instructions for each in counted),
        runtime_instructions=sum(step.work.instructions for step in steps if step.kind == "runtime"),
        loaded_bytes=sum(each.loaded_bytes for each in counted),
        stored_bytes=sum(each.stored_bytes for each in counted),
        partitions=len(partitions),
        by_class=_sums(pair for each in counted for pair in each.classes.items()),
        by_kernel=_sums(_by_kernel(ran)),
        by_kind=_sums((each.work or "(unknown)", each.instructions) for each in counted),
        by_module=_sums((module_group(each.module), each.instructions) for each in counted) if has_modules else {},
        steps=tuple(counted),
        misses=reduce(add, misses) if misses else None,
    )


def _step_count(step: Step, op: Op | None) -> StepCount:
    assert step.kind != "runtime"
    return StepCount(
        kind=step.kind,
        kernel=step.kernel,
        function=step.function,
        instructions=step.work.instructions,
        classes=dict(step.work.classes),
        loaded_bytes=step.work.loaded_bytes,
        stored_bytes=step.work.stored_bytes,
        op=op.op if op else None,
        tensor=op.tensor if op else None,
        module=op.module if op else None,
        work=op.kind if op else None,
        misses=step.work.misses,
    )


def _by_kernel(steps: Iterable[Step]) -> Iterator[tuple[str, int]]:
    for step in steps:
        for function, instructions in step.work.functions.items():
            around = f"{step.kernel} of TFLite" if step.kind == "builtin" else _AROUND
            yield short_name(function) or around, instructions


def _sums(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for key, value in pairs:
        sums[key] += value
    return dict(sums.most_common())


def _ops_of(steps: Sequence[Step], partitions: Sequence[Sequence[int]], ops: Sequence[Op]) -> list[Op | None]:
    """Return the op of the file that each step belongs to.

    Inside a partition the kernels tell which ops they can be part of, and both are laid beside each other in order;
    ops outside run in the order of the file.
    """
    known = {op.index: op for op in ops}
    own = iter([op for op in ops if not any(op.index in members for members in partitions)])
    places: dict[int, int | None] = {}
    for number, members in enumerate(partitions):
        inside = [place for place, step in enumerate(steps) if step.partition == number]
        found = place([ops_run_by(steps[at].kernel) for at in inside], [known[index] for index in members])
        places.update(zip(inside, found, strict=True))
    for at in reversed(range(len(steps) - 1)):
        if prepares(steps[at].kernel, steps[at + 1].kernel):
            places[at] = places.get(at + 1)
    return [
        next(own, None)
        if step.kind == "builtin"
        else known.get(index)
        if (index := places.get(at)) is not None
        else None
        for at, step in enumerate(steps)
    ]


def _comparisons(
    artifacts: Sequence[Artifact], results: Sequence[FileCount], core: CountedCore
) -> Iterator[CountComparison]:
    """Compare each file with the first of its group."""
    firsts: dict[str, FileCount] = {}
    for artifact, result in zip(artifacts, results, strict=True):
        if result.count is None:
            continue
        first = firsts.setdefault(artifact.group, result)
        if first is not result and first.count:
            ratio = result.count.instructions / first.count.instructions
            classes = {bool(each.by_class.keys() & {"smlal", "dot", "mmla"}) for each in (first.count, result.count)}
            warning = _NO_DOT if len(classes) > 1 and not core.has_dot else None
            yield CountComparison(result.file, first.file, ratio, warning)


def dearer(results: Sequence[FileCount], comparisons: Sequence[CountComparison]) -> Iterator[str]:
    """Yield a sentence for each quantized file that takes more instructions than its float32 file."""
    precisions = {each.file: each.precision for each in results}
    for each in comparisons:
        is_quantized = precisions[each.file] in _QUANTIZED and precisions[each.against] == "float32"
        if is_quantized and each.ratio > 1:
            yield f"{each.file} is dearer than {each.against} on this core: {each.ratio:.2f} times the instructions."
