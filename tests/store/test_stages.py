"""The table of stages, and that nothing beside it takes a stage's name apart."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import mobilekit
from mobilekit.store.stages import (
    CALIBRATED,
    DEFAULT_PRECISIONS,
    FORM_STAGES,
    PRECISIONS,
    TFLITE_STAGES,
    Form,
    Stage,
    device_stage,
    find_stage,
    stage_of_file,
    tflite_stage,
)

ROOT = Path(mobilekit.__file__).parent
TABLE = ROOT / "store" / "stages.py"
NAMED = re.compile(
    r"(tflite|device|onnx|gpu|pte)-($|[a-z]+[0-9x]*$)|model\.(float32|float16|dynamic|int8|int16x8)\.(tflite|onnx|pte)"
)
"""Names of stages, what they begin with, and the names of their files."""
NOT_STAGES = {"device-tree"}


def strings_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the strings in a module, those inside f-strings too, with their lines; but for docstrings."""
    tree = ast.parse(path.read_text())
    documented = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)  # docstrings, and those of attributes
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.lineno, node.value


def test_no_other_module_names_a_stage_or_takes_its_name_apart() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text!r}"
        for path in sorted(ROOT.rglob("*.py"))
        if path != TABLE
        for line, text in strings_of(path)
        if NAMED.match(text) and text not in NOT_STAGES
    ]
    assert found == []


@pytest.mark.parametrize("text", ["tflite-int8", "tflite-", "device-", "onnx-simplified", "model.int8.tflite"])
def test_the_search_finds_what_it_looks_for(text: str, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    name = f'f"{text}{{precision}}"' if text.endswith("-") else repr(text)
    module.write_text(f'"""tflite-int8"""\nname = {name}\n')
    assert [found for _, found in strings_of(module) if NAMED.match(found)] == [text]


def test_every_stage_but_the_first_was_made_from_one_before_it() -> None:
    stages = list(Stage)
    for number, stage in enumerate(stages):
        assert (stage.predecessor is None) == (stage is Stage.REFERENCE)
        assert stage.predecessor is None or stages.index(stage.predecessor) < number


def test_the_table_agrees_with_itself() -> None:
    for stage in Stage:
        assert stage.is_quantized == (stage.precision in ("dynamic", *CALIBRATED))
        assert stage.on_host.file == stage.file
        assert not stage.on_host.is_on_device
        assert find_stage(stage.value) is stage
        assert stage_of_file(stage.file) is stage.on_host
    assert (find_stage("their.tflite"), stage_of_file("their.tflite")) == (None, None)


def test_each_precision_has_a_file_here_and_on_a_device() -> None:
    assert PRECISIONS == (*DEFAULT_PRECISIONS, "int16x8") == ("float32", "float16", "dynamic", "int8", "int16x8")
    for precision, stage in zip(PRECISIONS, TFLITE_STAGES, strict=True):
        assert tflite_stage(precision) is stage is device_stage(precision).on_host
        assert stage.precision == precision


def test_each_word_of_a_recipe_has_a_file() -> None:
    others = ["onnx-int8", "onnx-int16x8", "pte-float32", "pte-float16", "pte-int8", "mlpackage"]
    assert [*FORM_STAGES] == [*PRECISIONS, *others] == [*get_args(Form)]
    assert [FORM_STAGES[name] for name in PRECISIONS] == [*TFLITE_STAGES]
    files = [stage.file for stage in FORM_STAGES.values()][len(PRECISIONS) :]
    programs = ["model.float32.pte", "model.float16.pte", "model.int8.pte"]
    assert files == ["model.int8.onnx", "model.int16x8.onnx", *programs, "model.mlpackage"]


def test_a_predecessor_that_is_not_there_is_passed_over() -> None:
    there = [Stage.REFERENCE, Stage.ONNX_SIMPLIFIED, Stage.TFLITE_INT8]
    assert Stage.TFLITE_INT8.predecessor_among(there) is Stage.ONNX_SIMPLIFIED
    assert Stage.DEVICE_INT8.predecessor_among(there) is Stage.TFLITE_INT8
    with pytest.raises(ValueError, match="reference was made from none"):
        Stage.REFERENCE.predecessor_among(there)
