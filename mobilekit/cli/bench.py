"""`mobilekit bench`: latencies on a device."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mobilekit.cli.output import err, out, print_json, progress
from mobilekit.errors import MobilekitError, UsageError

if TYPE_CHECKING:
    from mobilekit.bench.bench import BenchRequest
    from mobilekit.devices.base import Device


class DelegateWord(StrEnum):
    """A delegate that a user can demand."""

    XNNPACK = "xnnpack"
    GPU = "gpu"
    NNAPI = "nnapi"


def bench(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Bundles and .tflite files; without, every bundle under artifacts/.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="`local`, `adb`, `adb:SERIAL`, `adb:all` or `replay:DIR` (what --record kept).")
    ] = "local",
    threads: Annotated[int, typer.Option(min=1, max=64, help="Threads of the runtime.")] = 1,
    benchmark_binary: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|VERSION",
            help="A benchmark_model, or the version of one to download; without, the one on the device or on PATH.",
        ),
    ] = None,
    delegate: Annotated[
        DelegateWord | None, typer.Option(help="Demand a delegate; a run that it does not take is refused.")
    ] = None,
    cpus: Annotated[
        str | None, typer.Option(metavar="MASK|big", help="Cores to run on: a hexadecimal mask such as f0, or `big`.")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Rounds, each a run of every file; 12, or 2 where emulated.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, max=10000, help="Inferences of a run.")] = 20,
    warmup_runs: Annotated[int, typer.Option(min=1, max=1000, help="Inferences before them that do not count.")] = 3,
    max_seconds: Annotated[float, typer.Option(min=0.1, max=600, help="After this a run starts no inference.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the order in which files run.")] = 0,
    profile: Annotated[bool, typer.Option("--profile", help="Show where the time goes.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the figures into a .png or .svg.")] = None,
    save_baseline: Annotated[Path | None, typer.Option(help="Keep the figures for --baseline.")] = None,
    baseline: Annotated[Path | None, typer.Option(help="Compare with figures that were kept.")] = None,
    budgets: Annotated[Path | None, typer.Option(help="YAML file with limits by device and file.")] = None,
    record: Annotated[Path | None, typer.Option(help="Keep the conversation with the device in a new folder.")] = None,
    adb_server: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Another adb server.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a summary as Markdown.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all raw figures.")] = False,
) -> None:
    """Time .tflite files on a device, in rounds of random order, and say what the figures support.

    Exit code 1 if a file regressed, a budget is exceeded, or no run of a file was accepted; 3 if the device failed.

    Examples: `mobilekit bench --device adb` · `mobilekit bench a.tflite b.tflite` ·
    `mobilekit bench artifacts/ghostnetv2 --device adb --cpus big --profile --plot bench.png`
    """
    from mobilekit.bench.artifacts import find_artifacts
    from mobilekit.bench.bench import BenchRequest
    from mobilekit.bench.engine import RunSettings
    from mobilekit.bench.gates import Gates
    from mobilekit.devices.select import find_devices
    from mobilekit.report.charts import check_suffix

    if plot:
        check_suffix(plot)
    gates = Gates.load(baseline, budgets, save_baseline)
    settings = RunSettings(threads, runs, warmup_runs, max_seconds, _mask(cpus), delegate.value if delegate else None)
    request = BenchRequest(
        tuple(find_artifacts(files or [])), settings, rounds, seed, benchmark_binary, cpus == "big", profile
    )
    with progress(f"looking for {device}") as tell:
        selection = find_devices(device, adb_server, record=record)
        for found in selection.not_ready:
            err.print(f"warning: {found.message}", markup=False)
        contents = _bench_all(selection.devices, request, tell)
    for content in contents:
        content.update(gates.check(content))
    gates.save(contents)
    _write(contents, device, plot, junit, markdown, as_json)
    if any(_failed(content) for content in contents):
        raise typer.Exit(1)


def _mask(cpus: str | None) -> str | None:
    """Return the mask that the user gave.

    Raises:
        UsageError: It is not hexadecimal.
    """
    if cpus is None or cpus == "big":
        return None
    try:
        return f"{int(cpus, 16):x}"
    except ValueError as error:
        raise UsageError(
            f"--cpus {cpus} is not a hexadecimal mask.", "For cores 4 to 7: --cpus f0. Or: big."
        ) from error


def _bench_all(devices: list[Device], request: BenchRequest, tell: Any) -> list[dict[str, Any]]:
    """Bench all devices at once; one that fails does not stop the others.

    Raises:
        MobilekitError: No device came to an end; the first one's error.
    """
    from mobilekit.bench.bench import bench as run

    def one(device: Device) -> dict[str, Any]:
        name = device.facts.name
        return run(device, request, lambda message: tell(f"{name}: {message}"))

    if len(devices) == 1:
        return [one(devices[0])]
    contents: list[dict[str, Any]] = []
    failures: list[MobilekitError] = []
    with ThreadPoolExecutor(len(devices)) as pool:
        for future in [pool.submit(one, device) for device in devices]:
            try:
                contents.append(future.result())
            except MobilekitError as error:
                failures.append(error)
    for failure in failures:
        err.print(f"warning: {failure.what}", markup=False)
    if not contents:
        raise failures[0]
    return contents


def _failed(content: dict[str, Any]) -> bool:
    verdicts = [row["verdict"] for key in ("baseline", "budgets") for row in content.get(key) or ()]
    refused = any(not result["accepted"] for result in content["results"])
    return refused or "regressed" in verdicts or "fail" in verdicts


def _write(
    contents: list[dict[str, Any]],
    device: str,
    plot: Path | None,
    junit: Path | None,
    markdown: Path | None,
    as_json: bool,
) -> None:
    from mobilekit.files import write_atomic
    from mobilekit.report.bench import bench_report, device_columns
    from mobilekit.report.charts import draw_bench
    from mobilekit.report.junit import bench_junit
    from mobilekit.report.markdown import bench_markdown

    if plot:
        draw_bench(contents, plot)
    if junit:
        write_atomic(junit, bench_junit(contents))
    if markdown:
        write_atomic(markdown, bench_markdown(contents))
    if as_json:
        print_json({"devices": contents} if device == "adb:all" else contents[0])
        return
    for content in contents:
        out.print(bench_report(content))
    if len(contents) > 1:
        out.print(device_columns(contents))
