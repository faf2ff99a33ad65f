"""An int8 file that XNNPACK runs in more parts than the float32 one is told of, with what mends it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mobilekit.artifacts.delegate import Delegation, UndelegatedOp
from mobilekit.artifacts.inspect import Inspection
from mobilekit.parity.ledger.slower import slower_int8

WHOLE = Delegation("XNNPACK", partitions=1, delegated=9, total=9, undelegated=())


def told(int8: Delegation, float32: Delegation = WHOLE, kept: tuple[str, ...] = ()) -> str:
    files = {
        f"model.{name}.tflite": Inspection("tflite", {}, found, (), (), 1)
        for name, found in (("float32", float32), ("int8", int8))
    }
    return "".join(slower_int8(files, kept))  # type: ignore[arg-type]


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
    assert slower_int8({"model.int8.tflite": found}) == ()
