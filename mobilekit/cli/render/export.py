"""What `mobilekit export` prints: its verdict, what it was given, what it did, what came of that, and what is next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from shlex import quote
from textwrap import wrap
from typing import Any

from rich.console import RenderableType

from mobilekit.cli.render.format import WIDTH, count, indented, megabytes, percent
from mobilekit.cli.render.given import given_block
from mobilekit.cli.render.ranges import range_lines
from mobilekit.cli.render.steps import step_lines
from mobilekit.cli.render.terminal import finding_lines, ledger_table, limit_lines, loosened, verdict_line
from mobilekit.cli.results import ExportResult
from mobilekit.models.names import file_spec, is_registered
from mobilekit.parity.ledger.accuracy import labels_in_words
from mobilekit.store.manifest import Given
from mobilekit.store.stages import find_stage

_PLACES = 6
"""How many lines of what is wrong are shown; `--verbose` shows all."""


def export_report(result: ExportResult, manifest: Mapping[str, Any], verbose: bool = False) -> Iterator[RenderableType]:
    """Yield the lines of an export.

    Args:
        result: What was exported.
        manifest: The bundle's.
        verbose: With the figures of proofs, the derivations of limits, and all that is wrong.
    """
    ledger = result.ledger
    yield verdict_line(ledger, result.findings, str(manifest["model"]["name"]))
    yield from given_lines(result, manifest)
    yield from indented("rewrites", step_lines(ledger.steps, in_full=verbose) or ["none"])
    yield ledger_table(ledger)
    wrong = finding_lines(result.findings, in_full=verbose)
    yield from wrong if verbose else _first(wrong)
    yield from (f"Note: {note}" for note in ledger.notes)
    yield from (f"Loosened: {text}" for text in loosened(ledger))
    yield from limit_lines(ledger) if verbose else ()
    yield from range_lines(ledger.ranges, in_full=verbose) if ledger.ranges else ()
    yield from file_lines(result)
    yield f"Next: {next_command(result, manifest)}"


def given_lines(result: ExportResult, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was taken as given, at most 8 lines."""
    model, calibration, ledger = manifest["model"], manifest["calibration"], result.ledger
    given = [Given.from_json(each) for each in manifest.get("given", ())]
    if given and not is_registered(model["name"]):
        yield from given_block(model["name"], [_measured(each, result) for each in given])
        return
    options = ", ".join(f"{name} {value}" for name, value in model["options"].items())
    on = f"{count(ledger.inputs.count, 'input')} ({ledger.inputs.real}), and random ones for float stages"
    if ledger.reference_top1 is not None:
        on += f"; top-1 of the reference {percent(ledger.reference_top1, 2)} %"
    yield from indented("model", [f"{model['name']} ({options})" if options else model["name"]])
    yield from indented("weights", [model["weights"]["source"]])
    yield from indented("recipe", [f"{manifest['recipe']['name']}, to {', '.join(manifest['precision'])}"])
    yield from indented("input", [_input(manifest)])
    yield from indented("calibrated on", [f"{count(calibration['count'], 'input')} ({calibration['source']})"])
    yield from indented("measured on", [on])


def _measured(each: Given, result: ExportResult) -> Given:
    """Return what was given, with what only the work told."""
    if each.what == "weights":
        return replace(each, value=result.weights.source)
    top1 = result.ledger.reference_top1
    if each.what == "evaluation" and top1 is not None:
        names = result.ledger.inputs.labels
        order = f", labels {labels_in_words(names)}" if names else ""
        return replace(each, value=f"{each.value}, top-1 of the reference {percent(top1, 2)} %{order}")
    return each


def file_lines(result: ExportResult) -> Iterator[str]:
    """Yield where the bundle is, whether it was made now, and its files with their sizes."""
    made = "is written"
    if result.up_to_date:
        made = "was there already, of the same model, recipe and versions (--force makes it anew)"
    elif result.from_cache:
        made = "comes out of the cache, of the same model, recipe and versions (--force makes it anew)"
    yield f"{result.bundle} {made}:"
    files = ", ".join(f"{name} {megabytes(size)}" for name, size in result.files.items())
    yield from wrap(files, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def next_command(result: ExportResult, manifest: Mapping[str, Any]) -> str:
    """Return the command to run next."""
    errors = [finding for finding in result.findings if finding.level == "error"]
    bundle, name = quote(str(result.bundle)), quote(str(manifest["model"]["name"]))
    timed = _timed(result)
    report = f"mobilekit report {bundle} -o report.html"
    if not errors:
        return f"mobilekit bench {timed} (how fast it is), {report}" if timed else report
    if errors[0].rule == "stage":
        return f"mobilekit bench {timed} (how fast the files are that could be made)" if timed else report
    if errors[0].rule == "gate":
        file = f"{result.bundle}/{errors[0].file}"
        return f"mobilekit inspect {quote(file)}"
    if errors[0].stage == "rewritten":
        return f"mobilekit rewrites explain {name}"
    code = f" --reference {name}" if file_spec(str(manifest["model"]["name"])) else ""
    return _look_inside(f"mobilekit diff {bundle}{code}", [each.stage for each in errors if each.rule == "parity"])


def _look_inside(diff: str, failed: list[str | None]) -> str:
    """Return the command that finds the module at fault: a bisection, but of formats that show nothing inside.

    Args:
        diff: The command so far, which measures the bundle again.
        failed: The stages that failed.
    """
    stages = [known for known in map(find_stage, filter(None, failed)) if known]
    programs = [stage for stage in stages if stage.file_format == "pte"]
    if any(stage.file_format not in ("pte", "mlpackage") for stage in stages):
        return f"{diff} --bisect fault (which module is at fault)"
    if programs:
        return f"{diff} --layers --precision {programs[0]} (which module is at fault)"
    return f"{diff} (each figure again)"


def _timed(result: ExportResult) -> str:
    """Return what of a bundle a bench is asked for: the bundle for its TFLite files, or a .pte file; or nothing."""
    if any(name.endswith(".tflite") for name in result.files):
        return quote(str(result.bundle))
    programs = (name for name in result.files if name.endswith(".pte"))
    return next((quote(f"{result.bundle}/{name}") for name in programs), "")


def _input(manifest: Mapping[str, Any]) -> str:
    """Return how an image becomes the input, and the names of further inputs."""
    given, figures = manifest["input"], {}
    if "channels" in given:
        return f"{'x'.join(map(str, given['size']))}, {count(given['channels'], 'channel')}, arrays as they are"
    for key in ("mean", "std"):
        figures[key] = " ".join(f"{value:g}" for value in given[key])
    others = [f"and {name}" for name in manifest.get("extra_inputs", {})]
    height, width = given["size"] if isinstance(given["size"], list) else (given["size"],) * 2
    image = f"{height}x{width} {given['color']}, 0 to 1, mean {figures['mean']}, std {figures['std']}"
    others = [*(["inside the files, which take bytes"] if given.get("dtype") == "uint8" else []), *others]
    return " ".join([image, *others])


def _first(lines: list[str]) -> list[str]:
    rest = len(lines) - _PLACES
    return [*lines[:_PLACES], f"and {count(rest, 'more line')} with --verbose"] if rest > 1 else lines
