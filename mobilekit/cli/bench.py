"""`mobilekit bench`: latencies on a device, and instructions without one."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from mobilekit.cli import complete, options
from mobilekit.cli.count import check_core, count
from mobilekit.cli.fleet import bench_in_fleet, check_fleet
from mobilekit.cli.output import check_outputs, err, out, print_json, progress
from mobilekit.errors import DeviceError, MobilekitError, UsageError

if TYPE_CHECKING:
    from mobilekit.bench.bench import BenchRequest
    from mobilekit.bench.devices.base import Device
    from mobilekit.bench.result import BenchResult


_RUNS, _WARMUP_RUNS, _MAX_SECONDS = 20, 3, 5.0


class DelegateWord(StrEnum):
    """A delegate that a user can demand."""

    XNNPACK = "xnnpack"
    GPU = "gpu"
    NNAPI = "nnapi"
    NPU = "npu"


def bench(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Bundles, .tflite or .pte files; without, every bundle under artifacts/."),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            help="`local`, `adb`, `adb:SERIAL`, `adb:all`, `replay:DIR` (what --record kept) or `emulated`; of a "
            "--fleet `label:LABEL` or `serial:SERIAL`.",
            autocompletion=complete.bench_devices,
        ),
    ] = "local",
    fleet: options.Fleet = None,
    core: options.Core = None,
    cache_misses: Annotated[
        bool, typer.Option("--cache-misses", help="With --core: simulate its caches of data as well.")
    ] = False,
    threads: options.Threads = 1,
    benchmark_binary: options.BenchmarkBinary = None,
    delegate: Annotated[
        DelegateWord | None, typer.Option(help="Demand a delegate; a run that it does not take is refused.")
    ] = None,
    cpus: Annotated[
        str | None, typer.Option(metavar="MASK|big", help="Cores to run on: a hexadecimal mask such as f0, or `big`.")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Rounds, each a run of every file; 12, or 2 where emulated.")
    ] = None,
    runs: options.Runs = _RUNS,
    warmup_runs: Annotated[
        int, typer.Option(min=1, max=1000, help="Inferences before them that do not count.")
    ] = _WARMUP_RUNS,
    max_seconds: Annotated[
        float, typer.Option(min=0.1, max=600, help="After this a run starts no inference.")
    ] = _MAX_SECONDS,
    seed: options.Seed = 0,
    profile: Annotated[bool, typer.Option("--profile", help="Show where the time goes.")] = False,
    plot: options.Plot = None,
    save_baseline: options.SaveBaseline = None,
    baseline: Annotated[Path | None, typer.Option(help="Compare with figures that were kept.")] = None,
    budgets: Annotated[Path | None, typer.Option(help="YAML file with limits by device and file.")] = None,
    record: Annotated[Path | None, typer.Option(help="Keep the conversation with the device in a new folder.")] = None,
    push_lib: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="Bring a shared library beside benchmark_model; may stand several times.",
        ),
    ] = None,
    free_clocks: Annotated[
        bool, typer.Option("--free-clocks", help="Do not set a phone's mode of fixed performance.")
    ] = False,
    adb_server: options.AdbServer = None,
    junit: options.Junit = None,
    markdown: options.Markdown = None,
    sarif: options.Sarif = None,
    as_json: options.Json = False,
) -> None:
    """Time .tflite and .pte files on a device, in rounds of random order, and say what the figures support.

    With --device emulated --core CORE it counts the instructions of one inference instead, without a phone.

    Exit code 1 if a file regressed, a budget is exceeded, or no run of a file was accepted; 3 if the device failed,
    also where the rounds before that are given out.

    Examples: `mobilekit bench --device adb` · `mobilekit bench a.tflite b.tflite` ·
    `mobilekit bench artifacts/ghostnetv2 --device adb --cpus big --profile --plot bench.png` ·
    `mobilekit bench artifacts/ghostnetv2 --device emulated --core a76` ·
    `mobilekit bench artifacts/ghostnetv2 --fleet fleet.yaml --device label:pixel-6`
    """
    given = {
        "--threads": threads != 1,
        "--benchmark-binary": benchmark_binary is not None,
        "--delegate": delegate is not None,
        "--cpus": cpus is not None,
        "--rounds": rounds is not None,
        "--runs": runs != _RUNS,
        "--warmup-runs": warmup_runs != _WARMUP_RUNS,
        "--max-seconds": max_seconds != _MAX_SECONDS,
        "--seed": seed != 0,
        "--free-clocks": free_clocks,
        "--adb-server": adb_server is not None,
        "--fleet": fleet is not None,
        "--plot": plot is not None,
        "--record": record is not None,
        "--push-lib": push_lib is not None,
    }
    is_count = check_core(core, device, given)
    if cache_misses and not is_count:
        raise UsageError(
            "--cache-misses is for --device emulated with --core: elsewhere caches are not seen.", "Leave it out."
        )
    check_fleet(fleet, device, record=record is not None, adb_server=adb_server is not None)
    check_outputs((save_baseline, junit, markdown, sarif, plot, record), (*(files or ()), budgets))
    if is_count:
        assert core is not None
        count(
            files or [],
            core,
            details=profile,
            cache_misses=cache_misses,
            save_baseline=save_baseline,
            baseline=baseline,
            budgets=budgets,
            junit=junit,
            markdown=markdown,
            sarif=sarif,
            as_json=as_json,
        )
        return
    from mobilekit.bench.artifacts import failed_stages, find_artifacts
    from mobilekit.bench.bench import BenchRequest
    from mobilekit.bench.devices.select import find_devices
    from mobilekit.bench.engine import RunSettings
    from mobilekit.bench.gates import Gates

    gates = Gates.load(baseline, budgets, save_baseline)
    settings = RunSettings(threads, runs, warmup_runs, max_seconds, _mask(cpus), delegate.value if delegate else None)
    request = BenchRequest(
        tuple(find_artifacts(files or [], delegate or "")),
        settings,
        rounds,
        seed,
        benchmark_binary,
        cpus == "big",
        profile,
    )
    request = replace(request, libraries=tuple(push_lib or ()), fixed_performance=not free_clocks)
    for absent in failed_stages(files or []):
        err.print(f"warning: {absent}")
    failures: list[MobilekitError] = []
    with progress(f"looking for {device}") as tell:
        if fleet is not None:
            measured = [bench_in_fleet(fleet, device, request, tell)]
        else:
            selection = find_devices(device, adb_server, record=record)
            for found in selection.not_ready:
                err.print(f"warning: {found.message}")
            for note in selection.notes:
                err.print(f"note: {note}")
            gates.check_devices(len(selection.devices))
            measured, failures = _bench_all(selection.devices, request, tell)
    for failure in failures:
        err.print(f"warning: {failure.what}")
    results = [gates.check(result) for result in measured]
    for result in results:
        if result.partial:
            err.print(f"warning: {result.device.name} was not finished: {result.partial}")
    _show(results, failures, device, as_json)
    _write(results, plot, junit, markdown, sarif)
    gates.save(results[0])
    if any(result.fails for result in results):
        raise typer.Exit(1)
    if failures:
        raise typer.Exit(failures[0].exit_code)
    if any(result.partial for result in results):
        raise typer.Exit(DeviceError.exit_code)


def _mask(cpus: str | None) -> str | None:
    """Return the mask that the user gave.

    Raises:
        UsageError: It is not hexadecimal.
    """
    if cpus is None or cpus == "big":
        return None
    if re.fullmatch("(0x)?[0-9a-fA-F]{1,64}", cpus) is None or int(cpus, 16) == 0:
        raise UsageError(f"--cpus {cpus} is not a hexadecimal mask.", "For cores 4 to 7: --cpus f0. Or: big.")
    return f"{int(cpus, 16):x}"


def _bench_all(
    devices: list[Device], request: BenchRequest, tell: Callable[[str], None]
) -> tuple[list[BenchResult], list[MobilekitError]]:
    """Bench all devices at once; one that fails does not stop the others.

    Returns:
        The results, at least one, and the errors of the devices that failed.

    Raises:
        MobilekitError: No device came to an end; the first one's error.
    """
    from mobilekit.bench.bench import bench as run
    from mobilekit.bench.devices.wire import cut_all

    stopped = Event()

    def one(device: Device) -> BenchResult:
        name = device.facts.name

        def told(message: str) -> None:
            if stopped.is_set():  # only the main thread hears Ctrl-C
                raise KeyboardInterrupt
            tell(f"{name}: {message}")

        return run(device, request, told)

    if len(devices) == 1:
        return [one(devices[0])], []
    results: list[BenchResult] = []
    failures: list[MobilekitError] = []
    with ThreadPoolExecutor(len(devices)) as pool:
        try:
            for future in [pool.submit(one, device) for device in devices]:
                try:
                    results.append(future.result())
                except MobilekitError as error:
                    failures.append(error)
        except BaseException:
            stopped.set()
            cut_all()
            raise
    if not results:
        raise failures[0]
    return results, failures


def _show(results: list[BenchResult], failures: list[MobilekitError], device: str, as_json: bool) -> None:
    from mobilekit.bench.result import BenchOfDevices
    from mobilekit.cli.render.bench import bench_report, device_columns

    several = device == "adb:all" or len(results) + len(failures) > 1
    if as_json:
        failed = tuple(failure.what for failure in failures)
        print_json((BenchOfDevices(tuple(results), failed) if several else results[0]).to_json())
        return
    for result in results:
        out.print(bench_report(result), end="\n" * (1 + several))
    if len(results) > 1:
        out.print(device_columns(results))


def _write(
    results: list[BenchResult], plot: Path | None, junit: Path | None, markdown: Path | None, sarif: Path | None
) -> None:
    from mobilekit.cli.findings_of_cost import cost_findings
    from mobilekit.cli.render.charts import draw_bench
    from mobilekit.cli.render.junit import bench_junit
    from mobilekit.cli.render.markdown import bench_markdown
    from mobilekit.cli.render.sarif import findings_sarif
    from mobilekit.store.files import write_atomic

    if plot:
        draw_bench(results, plot)
    if junit:
        write_atomic(junit, bench_junit(results))
    if markdown:
        write_atomic(markdown, bench_markdown(results))
    if sarif:
        found = [finding for result in results for finding in cost_findings(result)]
        write_atomic(sarif, findings_sarif(found, Path()))
