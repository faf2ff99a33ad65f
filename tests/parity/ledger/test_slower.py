"""A quantized file that XNNPACK runs in more parts, or that rounds more than it saves, is told of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mobilekit.artifacts.delegate import Delegation, UndelegatedOp
from mobilekit.artifacts.inspect import Inspection
from mobilekit.artifacts.tflite import pack, unpack
from mobilekit.convert.weights import dynamic
from mobilekit.parity.ledger.slower import slower_files, without_int8
from tests.tflite_by_hand import make_tflite

WHOLE = Delegation("XNNPACK", partitions=1, delegated=9, total=9, undelegated=())


def told(int8: Delegation, float32: Delegation = WHOLE, kept: tuple[str, ...] = ()) -> str:
    files = {
        f"model.{name}.tflite": Inspection("tflite", {}, found, (), (), 1)
        for name, found in (("float32", float32), ("int8", int8))
    }
    return "".join(slower_files(files, kept))  # type: ignore[arg-type]


def leaving(partitions: int, *ops: str) -> Delegation:
    return replace(WHOLE, partitions=partitions, undelegated=tuple(UndelegatedOp(op, "x", "why") for op in ops))


def test_the_words_that_mend_it_are_named() -> None:
    assert told(leaving(3, "HARD_SWISH", "HARD_SWISH"), kept=("division",)) == (
        "model.int8.tflite may be slower than model.float32.tflite: XNNPACK runs it in 3 parts, not 1, and leaves "
        "2 HARD_SWISH. In a recipe, `int8: {keep_float: [division, hard-swish]}` keeps them in float."
    )


def test_no_word_is_named_that_does_not_help() -> None:
    """None names RELU, and DIV stayed where its word stands already."""
    both = told(leaving(4, "RELU", "HARD_SWISH", "DIV"), kept=("division",))
    assert both.endswith("`int8: {keep_float: [division, hard-swish]}` keeps the HARD_SWISH of these in float.")
    neither = told(leaving(4, "RELU", "DIV"), kept=("division",))
    assert neither.endswith(
        "leaves 1 RELU, 1 DIV. `mobilekit bench` tells how slow, and `mobilekit inspect` which ops."
    )


@pytest.mark.parametrize(
    ("int8", "float32"),
    [
        (WHOLE, WHOLE),
        (leaving(2, "GATHER"), leaving(2, "GATHER")),
        (leaving(1, "HARD_SWISH"), WHOLE),  # at the end: no border more
        (leaving(3, "GATHER"), leaving(2, "GATHER", "GATHER")),
    ],
)
def test_nothing_is_told_of_a_file_that_runs_as_whole(int8: Delegation, float32: Delegation) -> None:
    assert told(int8, float32) == ""


def test_without_a_file_to_compare_nothing_is_told() -> None:
    found = Inspection("tflite", {}, leaving(9, "HARD_SWISH"), (), (), 1)
    assert slower_files({"model.int8.tflite": found}) == ()


def test_a_dynamic_range_file_in_more_parts_is_told_of_without_words_for_int8() -> None:
    files = {
        "model.float32.tflite": Inspection("tflite", {}, WHOLE, (), (), 1),
        "model.dynamic.tflite": Inspection("tflite", {}, leaving(3, "CONV_2D", "HARD_SWISH"), (), (), 1),
    }
    assert slower_files(files) == (
        "model.dynamic.tflite may be slower than model.float32.tflite: XNNPACK runs it in 3 parts, not 1, and leaves "
        "1 CONV_2D, 1 HARD_SWISH. `mobilekit bench` tells how slow, and `mobilekit inspect` which ops.",
    )


def pointwise(shape: tuple[int, ...], channels: int) -> bytes:
    """Return a file of one pointwise convolution."""
    constants = {"w": np.ones((channels, 1, 1, shape[-1]), np.float32), "b": np.zeros(channels, np.float32)}
    model = unpack(make_tflite([("CONV_2D", ["x", "w", "b"], "y")], shape, ["y"], constants))
    model.subgraphs[0].tensors[-1].shape = np.array([*shape[:-1], channels], np.int32)
    return pack(model)


@pytest.mark.parametrize(
    ("shape", "channels", "is_told"), [((1, 112, 112, 16), 64, True), ((1, 7, 7, 160), 960, False)]
)
def test_a_dynamic_range_file_that_rounds_more_than_it_saves_is_told_of(
    tmp_path: Path, shape: tuple[int, ...], channels: int, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counts of these two layers on a Cortex-A76 were 1.9 and .33 times those of float32."""
    monkeypatch.setattr("mobilekit.convert.weights.kept_float", lambda _content: set())  # as in files of before
    (tmp_path / "model.dynamic.tflite").write_bytes(dynamic(pointwise(shape, channels)))
    whole = Inspection("tflite", {}, WHOLE, (), (), 1)
    told = slower_files({f"model.{name}.tflite": whole for name in ("float32", "dynamic")}, folder=tmp_path)
    assert bool(told) == is_told
    assert not told or "by an estimate, its quantized layers take 1.7" in told[0]


@pytest.mark.parametrize(("other", "is_told"), [(b"same", True), (b"rounded", False)])
def test_a_dynamic_range_file_that_is_the_float32_one_is_told_of(tmp_path: Path, other: bytes, is_told: bool) -> None:
    (tmp_path / "model.float32.tflite").write_bytes(b"same")
    (tmp_path / "model.dynamic.tflite").write_bytes(other)
    whole = Inspection("tflite", {}, WHOLE, (), (), 1)
    told = without_int8({f"model.{name}.tflite": whole for name in ("float32", "dynamic")}, tmp_path)
    assert told == (
        (
            "model.dynamic.tflite holds no int8 weights, and is model.float32.tflite byte for byte: each of its layers "
            "has too few weights to gain by them, or is depthwise.",
        )
        if is_told
        else ()
    )
