"""`mobilekit inspect`: what is in an artifact."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from mobilekit.cli.output import out, print_json


def inspect(
    file: Annotated[Path, typer.Argument(help="An .onnx or .tflite file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show an artifact's ops, inputs and outputs, and what the delegate leaves, with the reason.

    Example: `mobilekit inspect artifacts/ghostnetv2/model.int8.tflite`
    """
    from mobilekit.artifacts.inspect import inspect as describe

    described = describe(file)
    if as_json:
        print_json(described)
        return
    out.print(f"{file}: {described['format']}, {described['size_bytes'] / 1e6:.2f} MB", markup=False)
    for kind in ("inputs", "outputs"):
        for tensor in described[kind]:
            out.print(f"  {kind[:-1]:6s} {_tensor(tensor)}", markup=False)
    ops = described["ops"]
    out.print(f"{sum(ops.values())} ops: {', '.join(f'{count} {name}' for name, count in ops.items())}", markup=False)
    if described["delegate"]:
        _print_delegate(described["delegate"])


def _tensor(tensor: dict[str, Any]) -> str:
    shape = "x".join(str(size) for size in tensor["shape"])
    scale = tensor.get("scale")
    quantised = f", scale {scale:.6g}, zero point {tensor['zero_point']}" if scale else ""
    layout = f" {tensor['layout']}" if tensor["layout"] else ""
    return f"{tensor['name']}: {tensor['dtype']} {shape}{layout}{quantised}"


def _print_delegate(delegate: dict[str, Any]) -> None:
    if delegate["name"] is None:
        out.print("No delegate took anything: every op runs on LiteRT's own kernels.")
        return
    out.print(
        f"{delegate['name']} runs {delegate['delegated']} of {delegate['total']} ops in {delegate['partitions']} "
        f"partition{'s' if delegate['partitions'] != 1 else ''}."
    )
    left = Counter((node["op"], node["reason"]) for node in delegate["undelegated"])
    for (op, reason), count in left.most_common():
        out.print(f"  left: {count} {op} ({reason})", markup=False)
