"""`runtime:2.14`: whether a TensorFlow Lite of that version knows every op of a file, by a table of TensorFlow's own.

An app may be linked with an older runtime than the one here, which refuses a file for a single op of a newer version.
No such runtime is asked: the table says what it knows, and nothing of how it computes.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from packaging.version import Version

from mobilekit.artifacts.op_list import list_ops
from mobilekit.artifacts.tflite import kinds, unpack
from mobilekit.errors import MobilekitError
from mobilekit.targets.answer import Answer, Target, counted

VERSIONS = tuple(f"2.{minor}" for minor in range(5, 24))
_TABLE = "TensorFlow's table of op versions"
_HELP = "an app needs that version, or LiteRT"
_OWN = "no TensorFlow Lite knows it by itself: an app brings its code"


class TFLiteRuntime(Target):
    """A version of TensorFlow Lite."""

    suffix = ".tflite"
    reads = ".tflite files"

    def why_not(self) -> MobilekitError | None:
        """Return None: the table is always there."""
        return None

    def ask(self, path: Path) -> Answer:
        """Return which ops of a file this version knows."""
        has = Version(self.name.partition(":")[2])
        model, ops = unpack(path.read_bytes()), list_ops(path)
        names = kinds(model)
        codes = [int(op.opcodeIndex) for op in model.subgraphs[0].operators]
        why = [_why_not(names[code], int(model.operatorCodes[code].version), has) for code in codes]
        refused = counted((op.op, words, op.module) for op, words in zip(ops, why, strict=True) if words)
        taken = why.count("")
        return Answer(self.name, path.name, taken, len(ops), None, refused, _TABLE, by="table")


def _why_not(kind: str, version: int, has: Version) -> str:
    """Return why a runtime does not know a version of an op; nothing where it does."""
    if kind == "CUSTOM":
        return _OWN
    listed = _table().get(kind, ())
    if listed and version > max(each for each, _first in listed):
        return f"version {version} is newer than the table"
    first = needs(kind, version)
    return f"version {version} came with TensorFlow Lite {first}: {_HELP}" if first and first > has else ""


def needs(kind: str, version: int) -> Version | None:
    """Return the first TensorFlow Lite that knows a version of an op; None where 2.4 did, or nobody has said.

    Args:
        kind: Of the op, as TFLite names it.
        version: Of the op.
    """
    return next((Version(first) for each, first in _table().get(kind, ()) if each == version), None)


@cache
def _table() -> dict[str, list[tuple[int, str]]]:
    content: dict[str, list[tuple[int, str]]] = tomllib.loads(
        Path(__file__).with_name("tflite_versions.toml").read_text("utf-8")
    )
    return content
