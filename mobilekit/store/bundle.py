"""A bundle: the folder that an export makes, with a manifest that vouches for every byte in it."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilekit.errors import UsageError
from mobilekit.store.files import sha256_of, sha256_of_json, size_of, write_atomic
from mobilekit.store.notebook import ledger_line, ledger_table
from mobilekit.store.stages import FORM_STAGES, TFLITE_STAGES, Form, Precision, Stage

if TYPE_CHECKING:
    from mobilekit.store.manifest import FailedStage, Int8Ranges

MANIFEST = "manifest.json"
LEDGER = "ledger.json"
LAYOUTS = "stages/tflite.layouts.json"
MODULES = "stages/modules.json"
RANGES = "stages/ranges.json"
INT8_RANGES = "stages/{}.ranges.json"

OUTSIDE = "stages/{}.outside.json"
"""Of a file for ExecuTorch, by its stage: the steps that no delegate runs, in their order, with module and reason."""

_MAKE = "`mobilekit export MODEL` makes one."
_AGAIN = "It was changed since the export: export the model again."

INPUT = "input"
"""Name of a model's first input in every artifact, whatever the model's own code calls it."""


def output_layouts(folder: Path) -> dict[str, str]:
    """Return the layout of each TFLite output of four axes in a bundle's folder, by its name."""
    path = folder / LAYOUTS
    layouts: dict[str, str] = read_part(path, dict[str, str]) if path.exists() else {}
    return layouts


def calibrated_ranges(folder: Path) -> dict[str, tuple[float, float]] | None:
    """Return the range of each step of the rewritten model on the calibration inputs; None in a bundle without int8."""
    path = folder / RANGES
    ranges: dict[str, tuple[float, float]] | None = None
    if path.exists():
        ranges = read_part(path, dict[str, tuple[float, float]])
    return ranges


def int8_ranges(folder: Path) -> dict[str, Int8Ranges]:
    """Return how the ranges of a bundle's int8 files came about, by their stages."""
    from mobilekit.store.manifest import Int8Ranges

    paths = {stage: folder / INT8_RANGES.format(stage) for stage in Stage}
    return {str(stage): read_part(path, Int8Ranges) for stage, path in paths.items() if path.exists()}


def file_on(folder: Path, stage: Stage, target: str) -> Path:
    """Return the file that a target takes for a stage's: a form of its own, where the export wrote one."""
    own = folder / stage.own_file(target)
    return own if own.is_file() else folder / stage.file


@dataclass(frozen=True, repr=False)
class Bundle:
    """An export on the disk."""

    path: Path
    manifest: dict[str, Any]

    def __repr__(self) -> str:
        try:
            return f"<Bundle {self.path}: {ledger_line(self.ledger)}>"
        except (OSError, ValueError, LookupError):  # a folder that was changed since
            return f"<Bundle {self.path}>"

    def _repr_markdown_(self) -> str:
        """Return what a notebook shows."""
        return f"{html.escape(repr(self))}\n\n{ledger_table(self.ledger)}"

    @property
    def ledger(self) -> dict[str, Any]:
        """The drift ledger that was written at the export."""
        content: dict[str, Any] = json.loads((self.path / LEDGER).read_text())
        return content

    @property
    def precisions(self) -> list[Precision]:
        """The TFLite precisions in the bundle."""
        there = {stage.precision for stage in TFLITE_STAGES if (self.path / stage.file).exists()}
        return [name for name in self.manifest["precision"] if name in there]

    @property
    def forms(self) -> list[Form]:
        """The files in the bundle that its recipe asked for."""
        return [form for form in self.manifest["precision"] if (self.path / FORM_STAGES[form].file).exists()]

    @property
    def onnx_stages(self) -> list[Stage]:
        """Those of the ONNX files in the bundle, float32 first."""
        onnx = (Stage.ONNX_SIMPLIFIED, Stage.ONNX_INT8, Stage.ONNX_INT16X8)
        return [stage for stage in onnx if stage.file in self.manifest["artifacts"]]

    @property
    def failed_stages(self) -> tuple[FailedStage, ...]:
        """The stages that the export had to leave out."""
        from mobilekit.store.manifest import FailedStage

        return tuple(FailedStage.from_json(each) for each in self.manifest.get("failed_stages", ()))

    @property
    def outside(self) -> dict[str, int]:
        """How many ops no delegate runs, by the files for ExecuTorch; nothing of one that does not say so."""
        found = {}
        for stage in Stage:
            try:
                found[stage.file] = len(json.loads((self.path / OUTSIDE.format(stage)).read_text()))
            except (OSError, ValueError, TypeError):
                continue
        return found


def sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of each file at the top of a bundle's folder, and of a package, which is a folder, by name."""
    return {
        path.name: size_of(path)
        for path in sorted(folder.iterdir())
        if path.is_file() or path.name == Stage.MLPACKAGE.file
    }


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Write the manifest of the files in `folder`, with the SHA-256 of each and of itself."""
    content = {**content, "files": {name: sha256_of(folder / name) for name in _file_names(folder)}}
    write_atomic(folder / MANIFEST, _text({**content, "self_sha256": sha256_of_json(content)}))


def open_bundle(path: Path) -> Bundle:
    """Open a bundle.

    Raises:
        UsageError: The folder is not a bundle, or one of a later version.
    """
    from mobilekit.store.manifest import FORMAT, Manifest

    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise UsageError(f"{path} is not a bundle: it {what}.", _MAKE)
    if path.suffix == ".mlpackage":  # it has a Manifest.json, which is the same name on some disks
        raise UsageError(
            f"{path} is a Core ML package, and not a bundle.",
            "Name the bundle that it is in; a package alone can be looked into, by `mobilekit inspect`.",
        )
    if not (path / MANIFEST).exists():
        raise UsageError(f"{path} is not a bundle: it has no {MANIFEST}.", _MAKE)
    manifest: dict[str, Any] = read_part(path / MANIFEST, dict[str, Any])
    if manifest.get("format") != FORMAT:
        raise UsageError(
            f"{path / MANIFEST} cannot be read: it has the format {manifest.get('format')!r:.40}, and this version of "
            f"mobilekit reads {FORMAT}.",
            "Export the model again.",
        )
    read_part(path / MANIFEST, Manifest)
    return Bundle(path, manifest)


def read_part(path: Path, kind: Any) -> Any:
    """Read one of a bundle's JSON files.

    Args:
        path: The file.
        kind: The type of what it holds.

    Raises:
        UsageError: It is missing, or holds something else.
    """
    from pydantic import ValidationError  # takes a tenth of a second, and most of what a short command needs is no JSON

    from mobilekit.store.result import adapter

    try:
        return adapter(kind).validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", _AGAIN) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"{word}: " for word in [".".join(map(str, first["loc"]))] if word)
        raise UsageError(f"{path} cannot be read: {place}{first['msg']}.", _AGAIN) from error


def refuse_inside_bundle(path: Path) -> None:
    """Refuse to write into a bundle, which would then not be as it was exported.

    Raises:
        UsageError: A folder above the path is a bundle.
    """
    for folder in path.resolve().parents:
        if (folder / MANIFEST).is_file():
            raise UsageError(
                f"{path} lies in the bundle {folder}, which holds what its manifest names, and nothing else.",
                "Choose another place.",
            )


def find_changes(path: Path) -> list[str]:
    """Return what differs from the manifest, a sentence each; nothing for a bundle as it was written.

    The manifest is checked against its own digest and against its one way of being written, so that a changed byte in
    it shows as well.
    """
    try:
        text = (path / MANIFEST).read_bytes()
        manifest = json.loads(text)
        digest = manifest.pop("self_sha256")
        files = dict(manifest.get("files", {}))
    except FileNotFoundError:
        return [f"{MANIFEST} is missing"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return [f"{MANIFEST} is changed: it cannot be read"]
    changes = []
    if digest != sha256_of_json(manifest) or text != _text({**manifest, "self_sha256": digest}).encode():
        changes.append(f"{MANIFEST} is changed")
    for name, expected in files.items():
        file = path / name
        if not _is_file(file):
            changes.append(f"{name} is missing")
        elif sha256_of(file) != expected:
            changes.append(f"{name} is changed: its SHA-256 is not the manifest's")
    extra = [name for name in _file_names(path) if name not in files]
    return changes + [f"{name} is not in the manifest" for name in extra]


def changed_files(changes: Iterable[str], names: Iterable[str]) -> set[str]:
    """Return the names of those files that sentences of `find_changes` say are missing or changed."""
    said = tuple(changes)
    return {
        name for name in names if any(each.startswith((f"{name} is missing", f"{name} is changed")) for each in said)
    }


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no name of a file, such as a very long one
        return False


def _file_names(folder: Path) -> list[str]:
    """Return what is in a bundle's folder beside the manifest, sorted."""
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(str(path.relative_to(folder)) for path in paths if path != folder / MANIFEST)


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
