"""Which TensorFlow Lite knows the ops of a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version

from mobilekit.artifacts.tflite import pack, unpack
from mobilekit.targets.answer import Refusal
from mobilekit.targets.tflite_runtime import VERSIONS, TFLiteRuntime, needs
from tests.tflite_by_hand import make_tflite


def file(folder: Path, versions: dict[str, int]) -> Path:
    """Return a file of these ops, each in a version."""
    content = make_tflite([(kind, ["x", "x"], f"y{kind}") for kind in versions], (1, 4), [f"y{next(iter(versions))}"])
    model = unpack(content)
    for code, version in zip(model.operatorCodes, versions.values(), strict=True):
        code.version = version
    path = folder / "model.float32.tflite"
    path.write_bytes(pack(model))
    return path


@pytest.mark.parametrize(("runtime", "taken"), [("2.5", 0), ("2.6", 1), ("2.12", 1), ("2.13", 2), ("2.21", 2)])
def test_an_op_is_known_from_its_versions_runtime_on(tmp_path: Path, runtime: str, taken: int) -> None:
    answer = TFLiteRuntime(f"runtime:{runtime}").ask(file(tmp_path, {"ADD": 4, "MUL": 7}))
    assert (answer.taken, answer.total, answer.is_whole, answer.by) == (taken, 2, taken == 2, "table")
    if taken == 1:
        words = "version 7 came with TensorFlow Lite 2.13: an app needs that version, or LiteRT"
        assert answer.refused == (Refusal("MUL", 1, words),)


def test_what_2_4_knew_is_known_to_all(tmp_path: Path) -> None:
    path = file(tmp_path, {"ADD": 1, "MUL": 4})
    assert all(TFLiteRuntime(f"runtime:{version}").ask(path).is_whole for version in VERSIONS)


def test_the_table() -> None:
    """As TensorFlow Lite 2.14.1 itself says of FULLY_CONNECTED's version 12."""
    assert (needs("FULLY_CONNECTED", 12), needs("FULLY_CONNECTED", 9)) == (Version("2.17"), None)
    assert needs("NO_SUCH_OP", 1) is None


def test_each_ops_own_version_is_told(tmp_path: Path) -> None:
    model = unpack(make_tflite([("ADD", ["x", "x"], "a"), ("MUL", ["a", "x"], "y")], (1, 4), ["y"]))
    add, second = model.operatorCodes
    add.version, second.version = 4, 2
    second.builtinCode, second.deprecatedBuiltinCode = add.builtinCode, add.deprecatedBuiltinCode
    path = tmp_path / "model.tflite"
    path.write_bytes(pack(model))
    words = "version 4 came with TensorFlow Lite 2.6: an app needs that version, or LiteRT"
    assert TFLiteRuntime("runtime:2.5").ask(path).refused == (Refusal("ADD", 1, words),)


def test_an_op_of_somebodys_own_is_known_to_none(tmp_path: Path) -> None:
    model = unpack(make_tflite([("ADD", ["x", "x"], "y")], (1, 4), ["y"]))
    [code] = model.operatorCodes
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = 32, 32, b"FlexErf"
    path = tmp_path / "model.tflite"
    path.write_bytes(pack(model))
    answer = TFLiteRuntime("runtime:2.23").ask(path)
    words = "no TensorFlow Lite knows it by itself: an app brings its code"
    assert (answer.taken, answer.refused) == (0, (Refusal("CUSTOM", 1, words),))


def test_a_version_newer_than_the_table_is_known_to_none(tmp_path: Path) -> None:
    answer = TFLiteRuntime("runtime:2.23").ask(file(tmp_path, {"ADD": 99, "MUL": 1}))
    assert (answer.taken, answer.refused) == (1, (Refusal("ADD", 1, "version 99 is newer than the table"),))
