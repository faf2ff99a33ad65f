"""Rows of a profiler laid beside the ops of a file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilekit.bench.attribution import _ops_of, attribute, place_steps
from mobilekit.bench.kinds import Op
from mobilekit.bench.op_profile import OpProfile, ProfileRow, Section

TYPES = ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "CONV_2D", "LOGISTIC", "FULLY_CONNECTED")


def file_of(*types: str) -> list[Op]:
    return [Op(index, op, f"t{index}", f"m{index}", "kind", False) for index, op in enumerate(types)]


def row(kind: str, ms: float, node: int | None = None, section: Section = "run", **changes: Any) -> ProfileRow:
    name = f"t{node}" if node is not None else kind
    return ProfileRow(
        kind, changes.pop("name", name), node, ms * 1000, None, None, changes.pop("times", 1), section, **changes
    )


def test_without_a_delegate_each_row_is_its_op() -> None:
    ops = file_of(*TYPES)
    rows = [row(op.op, 1.5 + op.index, op.index) for op in ops]
    placed = attribute(ops, OpProfile((row("AllocateTensors", 9, section="init"), *rows)))
    assert placed.ms == {index: 1.5 + index for index in range(6)}
    assert placed.own == set(range(6))
    assert (placed.unplaced_ms, placed.partitions) == (0, 0)


def test_old_versions_tell_ops_by_the_names_of_their_tensors() -> None:
    ops = file_of(*TYPES)
    rows = [row(op.op, 1.0, None, name=f"{op.tensor}, another") for op in ops]
    placed = attribute(ops, OpProfile(tuple(rows)))
    assert placed.own == set(range(6)) and placed.unplaced_ms == 0


def test_steps_inside_a_delegate_are_counted_once() -> None:
    """XNNPACK took ops 0 to 3 and 5; its row among the ops holds the time of the steps as well."""
    ops = file_of(*TYPES)
    inside = [
        row("Transpose (ND, X32)", 0.25, section="inside"),
        row("Convolution (NHWC, F32) IGEMM", 2.0, section="inside"),
        row("Convolution (NHWC, F32) DWConv", 1.0, section="inside"),
        row("Add (ND, F32)", 0.5, section="inside"),
        row("Convolution (NHWC, F32) GEMM", 3.0, section="inside"),
        row("Fully Connected (NC, F32) GEMM", 0.125, section="inside"),
    ]
    run = [
        row("TfLiteXNNPackDelegate", 6.5, 6, name="t3"),
        row("LOGISTIC", 0.75, 4),
        row("TfLiteXNNPackDelegate", 0.5, 7, name="t5"),
    ]
    placed = attribute(ops, OpProfile((*run, *inside)))
    assert placed.ms == {0: 2.0, 1: 1.0, 2: 0.5, 3: 3.0, 4: 0.75, 5: 0.125}
    assert placed.own == {4}
    assert placed.partitions == 2
    # The transposition came before any op; 0.125 ms of the delegate are in none of its steps.
    assert placed.unplaced_ms == pytest.approx(0.25 + (7.0 - 6.875))
    assert sum(placed.ms.values()) + placed.unplaced_ms == pytest.approx(6.5 + 0.75 + 0.5)


def test_steps_in_the_place_of_the_delegates_row() -> None:
    ops = file_of(*TYPES)
    steps = ("Convolution (NHWC, F32) IGEMM", "Convolution (NHWC, F32) DWConv", "Add (ND, F32)", "Clamp (NC, F32)")
    rows = [
        *(row(step, 1.0, name=f"Delegate/{step}:{number}") for number, step in enumerate(steps)),
        row("CONV_2D", 4.0, 3),
        row("LOGISTIC", 5.0, 4),
        row("Fully Connected (NC, F32) GEMM", 0.5, name="Delegate/Fully Connected (NC, F32) GEMM:0"),
    ]
    placed = attribute(ops, OpProfile(tuple(rows)))
    assert placed.ms == {0: 1.0, 1: 1.0, 2: 2.0, 3: 4.0, 4: 5.0, 5: 0.5}, "the clamp belongs to the sum before it"
    assert placed.own == {3, 4}
    assert placed.unplaced_ms == 0


def test_a_delegate_that_tells_nothing_of_its_inside() -> None:
    placed = attribute(file_of(*TYPES), OpProfile((row("TfLiteGpuDelegateV2", 8.0, 6), row("ADD", 1.0, 2))))
    assert placed.ms == {2: 1.0}
    assert placed.unplaced_ms == 8.0
    assert placed.partitions == 1


def test_what_is_no_op_of_the_file_is_kept_apart() -> None:
    rows = (row("ADD", 1.0, 0), row("CONV_2D", 2.0, 99), row("Invoke", 4.0), row("CONV_2D", 8.0, 0, subgraph=1))
    placed = attribute(file_of("CONV_2D"), OpProfile(rows))
    assert placed.ms == {}
    assert placed.unplaced_ms == 7.0, "another type, an unknown number, no op at all; not what a subgraph did"


def test_ops_that_are_called_several_times_take_as_often_as_long() -> None:
    placed = attribute(file_of("ADD", "MUL"), OpProfile((row("ADD", 1.0, 0, times=3), row("MUL", 1.0, 1, times=None))))
    assert placed.ms == {0: 3.0, 1: 1.0}


STEPS = (
    "Convolution (NHWC, F32) IGEMM",
    "Convolution (NHWC, QC8) DWConv",
    "Fully Connected (NC, F32) GEMM",
    "Add (ND, F32)",
    "Sigmoid (NC, F32)",
    "Transpose (ND, X32)",
    "Something (NEW)",
)
OPS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "MUL", "LOGISTIC", "TRANSPOSE", "RESHAPE")


@pytest.mark.parametrize(
    ("step", "fits", "not_"),
    [
        ("Convolution (NHWC, F32) IGEMM", "CONV_2D", "DEPTHWISE_CONV_2D"),
        ("Convolution (NHWC, QC8) DWConv", "DEPTHWISE_CONV_2D", "CONV_2D"),
        ("Deconvolution (NHWC, F32)", "TRANSPOSE_CONV", "CONV_2D"),
        ("Fully Connected (NC, QD8, F32, QC8W)", "FULLY_CONNECTED", "ADD"),
        ("Dynamic Fully Connected (NC, F32)", "FULLY_CONNECTED", "ADD"),
        ("Batch Matrix Multiply (NC, F32) GEMM", "BATCH_MATMUL", "MUL"),
        ("Global Average Pooling (NWC, F32)", "MEAN", "MAX_POOL_2D"),
        ("Mean (ND) Reduce", "MEAN", "MUL"),
        ("Average Pooling (NHWC, F32)", "AVERAGE_POOL_2D", "MAX_POOL_2D"),
        ("Max Pooling (NHWC, F32)", "MAX_POOL_2D", "AVERAGE_POOL_2D"),
        ("Resize Bilinear (NHWC, F32)", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"),
        ("Constant Pad (ND, X32)", "PAD", "CONV_2D"),
        ("Multiply (ND, F32)", "MUL", "CONV_2D"),
        ("HardSwish (NC)", "HARD_SWISH", "LOGISTIC"),
        ("Sigmoid (NC, F32)", "LOGISTIC", "HARD_SWISH"),
        ("Clamp (NC, F32)", "RELU6", "ADD"),
        ("Square Root (NC, F32)", "SQRT", "MUL"),
        ("Transpose (ND, X32) Transpose", "TRANSPOSE", "TRANSPOSE_CONV"),
        ("Copy (NC, X32)", "RESHAPE", "ADD"),
        ("Convert (NC, F32, QS8)", "QUANTIZE", "CONV_2D"),
    ],
)
def test_which_ops_a_step_carries_out(step: str, fits: str, not_: str) -> None:
    assert fits in _ops_of(step)
    assert not_ not in _ops_of(step)


def longest_match(steps: Sequence[str], types: Sequence[str]) -> int:
    """Return how many steps can be paired with ops in order, by trying both ways at every place."""

    @cache
    def most(i: int, j: int) -> int:
        if i == len(steps) or j == len(types):
            return 0
        paired = 1 + most(i + 1, j + 1) if types[j] in _ops_of(steps[i]) else 0
        return max(paired, most(i + 1, j), most(i, j + 1))

    return most(0, 0)


@given(st.lists(st.sampled_from(STEPS), max_size=12), st.lists(st.sampled_from(OPS), max_size=12))
@settings(deadline=None)
def test_places_are_in_order_and_as_many_as_can_be_fit(steps: list[str], types: list[str]) -> None:
    ops = [Op(3 * index, op, "", None, "", False) for index, op in enumerate(types)]
    places = place_steps(steps, ops)
    assert len(places) == len(steps)
    known = [place for place in places if place is not None]
    assert known == sorted(known)
    assert places[: len(places) - len(known)] == [None] * (len(places) - len(known))
    fits = 0
    for place, before, step in zip(places, [None, *places], steps, strict=False):
        if place is not None and place != before:
            assert types[place // 3] in _ops_of(step), "an op's first step fits it"
            fits += 1
    assert fits == longest_match(steps, types)


@given(st.lists(st.sampled_from(["CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "LOGISTIC", "TRANSPOSE"]), max_size=30))
@settings(deadline=None)
def test_a_step_for_each_op_is_placed_on_it(types: list[str]) -> None:
    words = {
        "CONV_2D": "Convolution (NHWC, F32) IGEMM",
        "DEPTHWISE_CONV_2D": "Convolution (NHWC, F32) DWConv",
        "ADD": "Add (ND, F32)",
        "LOGISTIC": "Sigmoid (NC, F32)",
        "TRANSPOSE": "Transpose (ND, X32)",
    }
    assert place_steps([words[op] for op in types], file_of(*types)) == list(range(len(types)))
