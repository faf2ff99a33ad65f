"""All targets, and the words that name them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilekit.errors import UsageError, nearest
from mobilekit.store.bundle import file_on, open_bundle
from mobilekit.store.stages import Stage
from mobilekit.targets.answer import Target
from mobilekit.targets.cpu import CPU
from mobilekit.targets.gpu import GPU
from mobilekit.targets.qnn import QNN, SOCS
from mobilekit.targets.rknn import CHIPS, RKNN
from mobilekit.targets.tflite_runtime import VERSIONS, TFLiteRuntime
from mobilekit.targets.vela import CONFIGURATIONS, Vela


@dataclass(frozen=True)
class TargetKind:
    """A kind of targets."""

    name: str
    """What a word begins with."""
    make: type[Target]
    variants: tuple[str, ...] = ()
    """What may stand behind the colon; none where the name is all."""


KINDS = (
    TargetKind("cpu", CPU),
    TargetKind("gpu", GPU),
    TargetKind("qnn", QNN, tuple(SOCS)),
    TargetKind("rknn", RKNN, CHIPS),
    TargetKind("vela", Vela, CONFIGURATIONS),
    TargetKind("runtime", TFLiteRuntime, VERSIONS),
)
"""All there are. A new target is a file here and a line in this list."""
NPUS = ("qnn:SM8650", "vela:u55-256")
"""What `npu` stands for: of each maker whose compiler can be had, a chip that is common."""


def words() -> list[str]:
    """Return all words that name a target."""
    return [word for kind in KINDS for word in ([f"{kind.name}:{one}" for one in kind.variants] or [kind.name])]


def find_target(word: str) -> Target:
    """Return the target that a word names.

    Raises:
        UsageError: There is none.
    """
    kind = next((kind for kind in KINDS if kind.name == word.partition(":")[0]), None)
    if kind is None or word not in words():
        raise UsageError(f"There is no target {word!r}.", _instead(word))
    return kind.make(word)


def _instead(word: str) -> str:
    """Return a hint for what is no target: all of a kind, as they are written, or else the kinds."""
    name = word.partition(":")[0].lower()
    if name == "npu":
        return f"Known: {', '.join(NPUS)}."
    kind = next((kind for kind in KINDS if kind.name == name), None)
    if kind is None:
        return nearest(name, (kind.name for kind in KINDS))
    return f"Known: {', '.join(f'{name}:{one}' for one in kind.variants) or name}."


def target_words(listed: str) -> list[str]:
    """Return the words that a list with commas between them names, each once; `npu` stands for those of `NPUS`.

    Raises:
        UsageError: One of them names no target, or there is none.
    """
    given = [word.strip() for word in listed.split(",") if word.strip()]
    found = [find_target(one).name for word in given for one in (NPUS if word == "npu" else [word])]
    if not found:
        raise UsageError("No target is named.", _instead(""))
    return list(dict.fromkeys(found))


def find_targets(listed: str) -> list[Target]:
    """Return the targets that `target_words` gives.

    Raises:
        UsageError: As there.
    """
    return [find_target(word) for word in target_words(listed)]


def files_for(target: Target, path: Path) -> Sequence[Path]:
    """Return the files of a bundle that a target reads, or the one file where it can.

    Args:
        target: The target.
        path: A bundle's folder, or an artifact.

    Raises:
        UsageError: It cannot read that file, or the bundle has none for it.
    """
    if not path.is_dir():
        if target.takes(path):
            return [path]
        right = [each.name for each in _files_of(path.parent, target) if target.takes(each)]
        instead = f"Name {path.parent / right[0]}." if right else "Name a bundle's folder, and it finds its file."
        raise UsageError(f"The target {target.name} reads {target.reads}, and {path.name} is none.", instead)
    bundle = open_bundle(path)
    if lost := [
        name for name in bundle.manifest["files"] if f".{target.name}." in name and not (path / name).is_file()
    ]:
        raise UsageError(f"{path / lost[0]} is gone, which the export wrote for {target.name}.", "Export it again.")
    found = [each for each in _files_of(bundle.path, target) if target.takes(each)]
    if not found:
        raise UsageError(f"{path} has no file for the target {target.name}, which reads {target.reads}.")
    return found


def _files_of(folder: Path, target: Target) -> list[Path]:
    """Return a bundle's artifacts in the order of the conversion, those of the target's own in place of others."""
    stages = [stage for stage in Stage if stage.file_format != "pytorch"]
    files = dict.fromkeys(file_on(folder, stage, target.name) for stage in stages)
    return [path for path in files if path.parent == folder and path.is_file()]
