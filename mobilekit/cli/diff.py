"""`mobilekit diff`: measure every stage of a bundle, or an artifact that was made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilekit.bundle import find_changes, open_bundle
from mobilekit.cli.candidates import bisect_bundle, check_request, open_candidate
from mobilekit.cli.output import err, out, print_json, progress


def diff(
    bundle: Annotated[Path | None, typer.Argument(help="Folder that `mobilekit export` made.")] = None,
    inputs: Annotated[
        Path | None, typer.Option(help="Folder of pictures, or .npz with arrays by input names, perhaps `labels`.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="The model's FILE.py:FACTORY, for a bundle that was exported from one. With --candidate: a registered "
            "model, timm:NAME, FILE.py:FACTORY, or an .onnx file."
        ),
    ] = None,
    candidate: Annotated[Path | None, typer.Option(help="An .onnx or .tflite file that was made elsewhere.")] = None,
    weights: Annotated[Path | None, typer.Option(help="The reference's checkpoint, with --candidate.")] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Recipe that describes the reference's inputs, with --candidate.")
    ] = None,
    bisect: Annotated[
        Path | None, typer.Option(help="Cut out what is at fault, and write it to this folder with a script.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit file: a test for each comparison.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a summary as Markdown, as CI jobs show it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure every stage of a bundle against the stage it was made from and against the PyTorch reference.

    With --candidate, measure an artifact that was made elsewhere. With --bisect, name the module at fault, and cut it
    out. Exit code 1 if anything is outside its limit.

    Examples: `mobilekit diff artifacts/ghostnetv2` · `mobilekit diff artifacts/ghostnetv2 --inputs photos --json` ·
    `mobilekit diff artifacts/ghostnetv2 --junit parity.xml --markdown $GITHUB_STEP_SUMMARY` ·
    `mobilekit diff --reference timm:resnet18 --weights w.safetensors --candidate their.tflite --bisect fault` ·
    `mobilekit diff --reference their.onnx --candidate their.tflite`
    """
    check_request(bundle, reference, candidate, {"--weights": weights, "--recipe": recipe})
    opened = open_bundle(bundle) if bundle else None
    for change in find_changes(bundle) if bundle else ():
        err.print(f"warning: {change}; the bundle is measured as it is.", markup=False)
    import torch

    from mobilekit.bisection import bisect_to, check_free
    from mobilekit.differ import diff as measure
    from mobilekit.files import write_atomic
    from mobilekit.report.fault import fault_lines
    from mobilekit.report.junit import diff_junit
    from mobilekit.report.markdown import diff_markdown
    from mobilekit.report.terminal import ledger_table

    torch.set_num_threads(1)
    if bisect:
        check_free(bisect)
    found = None
    with progress("opening the artifacts") as tell:
        if opened:
            ledger = measure(opened, inputs, tell, reference)
            if bisect:
                found = bisect_bundle(bisect, opened, ledger, inputs, reference, tell)
        else:
            assert candidate and reference
            pair = open_candidate(reference, candidate, weights, recipe, inputs)
            for note in pair.notes:
                err.print(f"note: {note}.", markup=False)
            tell("measuring the candidate")
            ledger = pair.measure()
            if bisect and ledger.verdict != "pass":
                found = bisect_to(bisect, pair, tell)
    content, name = ledger.to_json(), candidate.name if candidate else opened.path.resolve().name if opened else ""
    if junit:
        write_atomic(junit, diff_junit(content, name))
    if markdown:
        write_atomic(markdown, diff_markdown(content, name))
    if as_json:
        print_json({**content, **({"bisect": found.to_json() if found else None} if bisect else {})})
    else:
        out.print(ledger_table(content))
        for line in fault_lines(found.to_json()) if found else ():
            out.print(line, markup=False)
        if bisect and not found:
            out.print("Nothing is outside its limit, so there is nothing to bisect.")
        if not bisect and ledger.verdict != "pass":
            err.print("Add --bisect DIR to find the module at fault, and to cut it out.")
    if ledger.verdict != "pass":
        raise typer.Exit(1)
