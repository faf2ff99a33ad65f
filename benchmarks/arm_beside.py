"""Instructions of bundles on ARM cores beside other converters' files of the same weights: a table of docs/arm.md.

    .venv/bin/python -m benchmarks.arm_beside artifacts/ghostnetv2 artifacts/shufflenet
    .venv/bin/python -m benchmarks.arm_beside artifacts/* --earlier fb7daf7 elsewhere/artifacts --made-only

It needs `mobilekit devices setup-emulated` and the environment of litert-torch that `benchmarks.peers set-up` makes.
`--earlier` names the bundles of an earlier version: a folder that has one of the same name for each. Conversions and
counts are kept in mobilekit's cache folder, so that the next call goes on where the last one was left; `--made-only`
converts nothing, and shows what is there.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.arm import count, counted_with, files_of, millions
from benchmarks.peers import conversions, environments
from benchmarks.peers.rows import problem_of
from benchmarks.peers.tools import PEERS, Job, Tool
from benchmarks.tables import DOCS, markdown, ran_on, write
from mobilekit.bench.artifacts import Artifact
from mobilekit.bench.instructions.cores import CountedCore, core_named
from mobilekit.store.bundle import open_bundle
from mobilekit.store.stages import Stage, tflite_stage

CORES = ("a55", "a76")
CONVERTERS = tuple(tool for tool in PEERS if "dynamic" in tool.files)


@dataclass(frozen=True)
class PeerFile:
    """What a converter made of a bundle's weights."""

    path: Path | None
    """None where it made nothing."""
    problem: str
    """Why it is not the model; empty where it is."""

    def count(self, core: CountedCore) -> int | None:
        """Return its instructions."""
        return count(self.path, core) if self.path else None


def peer_file(tool: Tool, artifact: Artifact, made_only: bool) -> PeerFile:
    """Return a converter's file of a bundle's weights in the precision of one of the bundle's files.

    Args:
        tool: The converter.
        artifact: The bundle's file.
        made_only: Convert nothing.
    """
    bundle = open_bundle(artifact.path.parent)
    model = str(bundle.manifest["model"]["name"])
    job = Job(model, artifact.precision, conversions.shared_folder(model))
    weights = job.shared / "weights.safetensors"
    if made_only and not weights.exists():
        return PeerFile(None, "not converted")
    if not weights.exists() or weights.read_bytes() != (bundle.path / Stage.REFERENCE.file).read_bytes():
        conversions.prepare(bundle.path.absolute(), job)
    float32 = Job(model, "float32", job.shared)
    for each in () if made_only else dict.fromkeys((float32, job)):
        conversions.convert(tool, each, conversions.key_of(tool, each))
    made, whole = (_record(tool, each) for each in (job, float32))
    problem = problem_of(made, {"accepted": True}, job.facts, whole)
    return PeerFile(Path(made["file"]) if "file" in made else None, problem)


def _record(tool: Tool, job: Job) -> dict[str, Any]:
    return conversions.record_of(tool, job.model, job.precision) or {"why_not": "not converted"}


def _rows(
    bundles: Sequence[Path], earlier: Path | None, notes: list[str], made_only: bool = False
) -> Iterator[list[str]]:
    """Yield a row for each bundle, precision and core: ours, each converter's, the earlier version's, and ratios.

    Args:
        bundles: Ours.
        earlier: Folder of the earlier version's.
        notes: Is given what is wrong with the others' files.
        made_only: Convert nothing.
    """
    for artifact in files_of(bundles):
        model, precision = Path(artifact.name).parent.name, artifact.precision
        files = [peer_file(tool, artifact, made_only) for tool in CONVERTERS]
        for tool, file in zip(CONVERTERS, files, strict=True):
            notes += [f"{tool.name}, {model}, {precision}: {file.problem}"] if file.problem else []
        for core in map(core_named, CORES):
            ours = count(artifact.path, core)
            counts = [file.count(core) for file in files]
            right = [one for one, file in zip(counts, files, strict=True) if one and not file.problem]
            cells = [_cell(one, file) for one, file in zip(counts, files, strict=True)]
            before = count(earlier / model / tflite_stage(precision).file, core) if earlier else None
            then = [millions(before), _ratio(ours, before)] if earlier else []
            yield [model, precision, core.model, millions(ours), *cells, _ratio(ours, min(right, default=None)), *then]


def _cell(instructions: int | None, file: PeerFile) -> str:
    if instructions is None:
        return "-"
    return millions(instructions) + (" (wrong)" if file.problem else "")


def _ratio(ours: int | None, others: int | None) -> str:
    return f"{ours / others:.3f}" if ours and others else "-"


def main() -> None:
    """Convert and count, and write the table."""
    parser = argparse.ArgumentParser(
        "benchmarks.arm_beside", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--earlier", nargs=2, metavar=("NAME", "FOLDER"), help="an earlier version's bundles")
    parser.add_argument("--made-only", action="store_true", help="convert nothing")
    options = parser.parse_args()
    name, folder = (options.earlier[0], Path(options.earlier[1])) if options.earlier else ("", None)
    head = ["model", "precision", "core", "mobilekit", *(tool.name for tool in CONVERTERS), "ours / best right one"]
    notes: list[str] = []
    rows = _rows(options.bundles, folder, notes, options.made_only)
    table = markdown([*head, *([name, f"ours / {name}"] if name else [])], rows)
    listed = "\n".join(f"- {note}." for note in notes)
    versions = environments.versions("litert-torch", ("litert-torch", "ai-edge-quantizer"))
    others = ", ".join(f"{tool} {version}" for tool, version in versions.items())
    ran = f"By `benchmarks/arm_beside.py` on {ran_on(('mobilekit', 'onnx2tf', 'tensorflow'))} With\n{others}."
    write(DOCS / "arm.md", "arm_beside", f"{table}\n\n{listed}\n\n{ran} {counted_with()}")


if __name__ == "__main__":
    main()
