"""`mobilekit bench --device emulated --core CORE`: instructions of an ARM core, counted without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from mobilekit.cli.output import err, out, print_json, progress
from mobilekit.errors import UsageError

DEVICE = "emulated"


def check_core(core: str | None, device: str, given: Mapping[str, bool]) -> bool:
    """Return whether instructions are to be counted, and not latencies measured.

    Args:
        core: What `--core` names.
        device: What `--device` names.
        given: Options that only measurements of time have, and whether each was given.

    Raises:
        UsageError: The options do not fit each other.
    """
    if core is None:
        return False
    if device != DEVICE:
        raise UsageError(f"--core is for --device {DEVICE}: other devices have the core that they have.")
    for option, is_given in given.items():
        if is_given:
            raise UsageError(
                f"{option} has no meaning with --core: one inference is counted, on one thread.", "Leave it out."
            )
    return True


def count(
    files: Sequence[Path],
    core: str,
    *,
    details: bool,
    cache_misses: bool,
    save_baseline: Path | None,
    baseline: Path | None,
    budgets: Path | None,
    junit: Path | None,
    markdown: Path | None,
    sarif: Path | None,
    as_json: bool,
) -> None:
    """Count one inference of each file; see `mobilekit.cli.bench.bench` for the options.

    Raises:
        UsageError: There is no such core, or no such file.
        ToolError: The emulated device is not set up, or cannot count.
    """
    from mobilekit.bench.artifacts import PROGRAM, failed_stages, find_artifacts
    from mobilekit.bench.instructions.cores import core_named
    from mobilekit.bench.instructions.count import count_files
    from mobilekit.bench.instructions.gates import CountGates
    from mobilekit.cli.findings_of_cost import cost_findings
    from mobilekit.cli.render.count import count_markdown, count_report
    from mobilekit.cli.render.junit import count_junit
    from mobilekit.cli.render.sarif import findings_sarif
    from mobilekit.store.files import write_atomic

    chosen = core_named(core)
    gates = CountGates.load(baseline, budgets, save_baseline)
    artifacts = find_artifacts(files)
    for artifact in artifacts:
        if artifact.path.suffix == PROGRAM:
            raise UsageError(
                f"{artifact.path} is for ExecuTorch, and only TFLite files are counted: the emulated core has LiteRT.",
                "Give .tflite files or a bundle with such; without --device and --core, a .pte file is timed here.",
            )
    for absent in failed_stages(files):
        err.print(f"warning: {absent}")
    with progress(f"counting on {chosen.model}") as tell:
        result = gates.check(count_files(artifacts, chosen, tell, cache_misses=cache_misses))
    if as_json:
        print_json(result.to_json())
    else:
        out.print(count_report(result, details or len(result.results) == 1))
    if junit:
        write_atomic(junit, count_junit(result))
    if markdown:
        write_atomic(markdown, count_markdown(result))
    if sarif:
        write_atomic(sarif, findings_sarif(cost_findings(result), Path()))
    gates.save(result)
    if result.fails:
        raise typer.Exit(1)
