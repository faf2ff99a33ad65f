"""Converts exported programs to Core ML packages; it is run in a process of its own.

A request has `program`, the path of a .pt2 file that mobilekit wrote; `package`, the folder to write; `target`, the
oldest system that must read it, such as `iOS15`; and `facts`, what the package says of itself, with the names of its
`inputs` and `outputs` in their order.

What coremltools makes anew in each conversion is made the same: the identifiers of the package's items are UUIDs of
their paths (RFC 9562, version 5) in place of random ones, the date of the conversion is left out, and maps are written
in the order of their keys.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from mobilekit.artifacts.coreml.package import FACTS, MANIFEST, MODEL
from mobilekit.artifacts.coreml.tools import imported
from mobilekit.store.files import write_json
from mobilekit.store.worker_loop import named, serve

_DATE = "com.github.apple.coremltools.conversion_date"
_BESIDE = ("executorch_debug_handle_mapping.json",)
"""What it writes besides for programs, which no manifest names."""


def convert(request: dict[str, Any]) -> dict[str, Any]:
    """Write a package."""
    coremltools, facts = imported(), request["facts"]
    program = torch.export.load(request["program"])
    program.graph.eliminate_dead_code()  # loaded, a step of several results has each of them read
    with named("coremltools"), TemporaryDirectory() as scratch:
        model = coremltools.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=getattr(coremltools.target, request["target"]),
            compute_precision=coremltools.precision.FLOAT16,
            skip_model_load=True,
        )
        made = Path(scratch) / Path(request["package"]).name
        model.save(str(made))
        spec = model.get_spec()
        _rename(spec, [*facts["inputs"], *facts["outputs"]])
        told = spec.description.metadata.userDefined
        told.pop(_DATE, None)
        told[FACTS] = json.dumps(facts)
        (made / MODEL).write_bytes(spec.SerializeToString(deterministic=True))
        _name_items(made)
        for name in _BESIDE:
            (made / name).unlink(missing_ok=True)
        shutil.move(made, request["package"])
    return {}


def _rename(spec: Any, names: Iterable[str]) -> None:
    """Give a program's inputs and outputs their names; a value inside that is called so has another one then.

    Raises:
        ValueError: Two outputs are one tensor.
    """
    ends = [*spec.description.input, *spec.description.output]
    changed = {each.name: name for each, name in zip(ends, names, strict=True)}
    if len(changed) < len(ends):
        raise ValueError("an output is an input, or two outputs are one tensor, which coremltools does not tell apart")
    inside = {name: f"{name}_inside" for name in changed.values() if name not in changed}
    for each in ends:
        each.name = changed[each.name]
    for function in spec.mlProgram.functions.values():
        for given in function.inputs:
            given.name = changed.get(given.name, given.name)
        for block in function.block_specializations.values():
            _rename_in(block, {**inside, **changed})


def _rename_in(block: Any, names: Mapping[str, str]) -> None:
    for operation in block.operations:
        for argument in operation.inputs.values():
            for binding in argument.arguments:
                if binding.name:
                    binding.name = names.get(binding.name, binding.name)
        for made in operation.outputs:
            made.name = names.get(made.name, made.name)
        for nested in operation.blocks:
            _rename_in(nested, names)
    block.outputs[:] = [names.get(name, name) for name in block.outputs]


def _name_items(package: Path) -> None:
    """Write the package's manifest with an identifier of each item's path."""
    content = json.loads((package / MANIFEST).read_text())
    items = content["itemInfoEntries"]
    names = {key: str(uuid.uuid5(uuid.NAMESPACE_URL, item["path"])) for key, item in items.items()}
    content["itemInfoEntries"] = {names[key]: items[key] for key in sorted(items, key=lambda key: names[key])}
    content["rootModelIdentifier"] = names[content["rootModelIdentifier"]]
    write_json(package / MANIFEST, content)


if __name__ == "__main__":
    serve(convert)
