"""`mobilekit inspect`: what is in an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilekit.cli import options
from mobilekit.cli.diff_request import refuse
from mobilekit.cli.output import out, print_json, progress


def inspect(
    file: Annotated[
        Path, typer.Argument(help="An .onnx, .tflite or .pte file; with --target, a bundle's folder as well.")
    ],
    ops: Annotated[
        bool, typer.Option("--ops", help="List the ops in order: output shapes, sizes of weights, PyTorch modules.")
    ] = False,
    target: options.Targets = None,
    as_json: options.Json = False,
) -> None:
    """Show an artifact's ops, inputs and outputs, and what the delegate leaves, with the reason.

    Known faults that touch the file are named, those of the installed LiteRT or ONNX Runtime first. With --target, each
    target's own compiler says what it takes of the file, or of its files of a bundle.

    Examples: `mobilekit inspect artifacts/ghostnetv2/model.int8.tflite` ·
    `mobilekit inspect artifacts/ghostnetv2/model.int8.tflite --ops` ·
    `mobilekit inspect artifacts/ghostnetv2 --target cpu,gpu`
    """
    if target is not None:
        refuse("lists the ops of a file, and is not asked of a target", ops=ops)
        _ask_targets(file, target, as_json)
        return
    from mobilekit.artifacts.analysis.probe import check_survives
    from mobilekit.artifacts.analysis.runtime_faults import InspectResult, faults_elsewhere, faults_in
    from mobilekit.artifacts.inspect import inspect as look_into
    from mobilekit.cli.render.inspect import inspect_lines
    from mobilekit.cli.render.runtime_faults import runtime_fault_lines

    check_survives(file)
    found = look_into(file, ops)
    faults, elsewhere = faults_in(file), faults_elsewhere(file)
    if as_json:
        print_json(InspectResult(**vars(found), runtime_faults=faults, faults_elsewhere=elsewhere).to_json())
        return
    for line in (*inspect_lines(file, found), *runtime_fault_lines((*faults, *elsewhere))):
        out.print(line, emoji=False)


def _ask_targets(path: Path, listed: str, as_json: bool) -> None:
    from mobilekit.cli.render.targets import target_lines
    from mobilekit.jobs.ask_targets import ask_targets

    with progress("asking the targets") as tell:
        answers = ask_targets(path, listed, tell)
    if as_json:
        print_json([answer.to_json() for answer in answers])
        return
    for line in target_lines(answers):
        out.print(line, markup=False, emoji=False)
