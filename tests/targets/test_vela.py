"""Arm's compiler for Ethos-U: what it takes of int8 files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from mobilekit.targets import vela
from mobilekit.targets.answer import Refusal
from mobilekit.targets.vela import Vela
from tests.conftest import Cli
from tests.tflite_by_hand import Int8, make_int8_op, make_tflite

needs_vela = pytest.mark.skipif(importlib.util.find_spec("ethosu") is None, reason="ethos-u-vela is not installed")


@needs_vela
def test_an_int8_layer_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "model.int8.tflite"
    weights = np.random.default_rng(0).integers(-127, 128, (16, 1, 1, 8)).astype(np.int8)
    bias = Int8((16,), 0.02 * 0.01, 0, np.zeros(16, np.int32))
    options = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
    taken, made = Int8((1, 4, 4, 8), 0.02, 3), Int8((1, 4, 4, 16), 0.25, 0)
    path.write_bytes(make_int8_op("CONV_2D", [taken, Int8(weights.shape, 0.01, 0, weights), bias], made, **options))
    answer = Vela("vela:u55-256").ask(path)
    assert (answer.taken, answer.total, answer.partitions, answer.is_whole) == (1, 1, 1, True)


@needs_vela
def test_what_is_in_float_is_left_and_said(tmp_path: Path) -> None:
    path = tmp_path / "model.int8.tflite"
    path.write_bytes(make_tflite([("ADD", ["x", "x"], "a"), ("MUL", ["a", "x"], "y")], (1, 4, 4, 8), ["y"]))
    answer = Vela("vela:u85-256").ask(path)
    assert (answer.taken, answer.total, answer.partitions, answer.is_whole) == (0, 2, 0, False)
    words = "Operation has tensor with unsupported DataType Float32"
    helped = "The recipe leaves it in float (`int8: {float_modules, keep_float, io}`), which this NPU has not."
    assert set(answer.refused) == {Refusal(kind, 1, words, (), helped) for kind in ("ADD", "MUL")}


@needs_vela
def test_a_file_that_it_does_not_take_at_all_is_told_in_its_words(tmp_path: Path) -> None:
    path = tmp_path / "model.int8.tflite"
    path.write_bytes(make_tflite([("HARD_SWISH", ["x"], "y")], (1, 4, 4, 8), ["y"]))
    answer = Vela("vela:u55-256").ask(path)
    assert (answer.taken, answer.total, answer.is_whole) == (0, 1, False)
    [refused] = answer.refused
    assert refused.words == "HARD_SWISH 'y' Does not have valid TFLite Semantics"
    assert refused.help.startswith("The recipe leaves it in float")


@needs_vela
def test_a_failure_for_another_reason_has_no_advice_about_float(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "Compilation failed: Error: no room for 'y' in the SRAM."
    monkeypatch.setattr(vela, "_MAIN", f"print({said!r}); raise SystemExit(1)")
    path = tmp_path / "model.int8.tflite"
    path.write_bytes(make_int8_op("ADD", [Int8((1, 4), 0.02, 3)] * 2, Int8((1, 4), 0.04, 0)))
    assert Vela("vela:u55-256").ask(path).refused == (Refusal("file", 1, "no room for 'y' in the SRAM"),)


def test_a_float_file_is_not_for_it(cli: Cli, tmp_path: Path) -> None:
    for name in ("model.float32.tflite", "model.int8.tflite"):
        (tmp_path / name).touch()
    done = cli("inspect", tmp_path / "model.float32.tflite", "--target", "vela:u55-256")
    assert done.returncode == 2
    assert "reads int8 .tflite files" in done.stderr
    assert "model.int8.tflite" in done.stderr


def test_an_int8_file_is_for_it_by_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "their.tflite"
    path.write_bytes(make_int8_op("ADD", [Int8((1, 4), 0.02, 3)] * 2, Int8((1, 4), 0.04, 0)))
    assert Vela("vela:u55-256").takes(path)
    path.write_bytes(make_tflite([("ADD", ["x", "x"], "y")], (1, 4), ["y"]))
    assert not Vela("vela:u55-256").takes(path)
    path.write_bytes(path.read_bytes()[:100])
    assert not Vela("vela:u55-256").takes(path)
