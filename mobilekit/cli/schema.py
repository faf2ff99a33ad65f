"""`mobilekit schema`: what the JSON that mobilekit writes and prints looks like."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, Literal

import typer

from mobilekit.cli.output import out, print_json
from mobilekit.errors import UsageError, nearest
from mobilekit.store.result import adapter

TYPES = {
    "app": "mobilekit.jobs.app_project.write:AppProject",
    "bench": "mobilekit.bench.result:AnyBench",
    "diff": "mobilekit.cli.results:DiffResult",
    "export": "mobilekit.cli.results:ExportResult",
    "goldens": "mobilekit.jobs.goldens.result:Goldens",
    "goldens-check": "mobilekit.jobs.goldens.result:Replayed",
    "input": "mobilekit.jobs.see_input:SeenInput",
    "inspect": "mobilekit.artifacts.analysis.runtime_faults:InspectResult",
    "instructions": "mobilekit.bench.instructions.result:CountResult",
    "ledger": "mobilekit.parity.ledger.result:Ledger",
    "manifest": "mobilekit.store.manifest:Manifest",
    "models": "mobilekit.models.analysis.summary:ModelSummaries",
    "recover": "mobilekit.jobs.recover.result:Recovered",
    "sweep": "mobilekit.sweep.show:ShownSweep",
    "sweep-compare": "mobilekit.sweep.compare:ComparedSweeps",
    "sweep-import": "mobilekit.sweep.foreign:Imported",
    "sweep-log": "mobilekit.sweep.log:Logged",
}
"""The type of each JSON document, by the name of the command that prints it or the file that holds it: a
dataclass or pydantic model, which `mobilekit.store.result.adapter` takes."""
INPUTS = {"fleet": "mobilekit.bench.fleet.schema:Fleet"}
"""The pydantic model of each YAML file that a user writes, where no other command prints its schema."""
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(
    name: Annotated[str | None, typer.Argument(help="Of a document; all names without.")] = None,
) -> None:
    """Print the JSON Schema of what a command prints with --json, or of a bundle's file.

    Also of a file that a user writes: `fleet`.

    Examples: `mobilekit schema` · `mobilekit schema diff > diff.schema.json`
    """
    if name is None:
        for each in sorted((*TYPES, *INPUTS)):
            out.print(each)
        return
    print_json(schema_of(name))


def schema_of(name: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a document.

    Raises:
        UsageError: There is none of that name.
    """
    known = {**TYPES, **INPUTS}
    if name not in known:
        raise UsageError(f"There is no schema {name}.", nearest(name, known))
    module, _, kind = known[name].partition(":")
    mode: Literal["validation", "serialization"] = "validation" if name in INPUTS else "serialization"
    content: dict[str, Any] = adapter(getattr(import_module(module), kind)).json_schema(mode=mode)
    return {"$schema": _DIALECT, **content}
