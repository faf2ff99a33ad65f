"""Padding becomes a step where TFLite's SAME pads other sides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mobilekit.rewrites.base import Options
from mobilekit.rewrites.rules.explicit_padding import ExplicitPadding
from tests.rewriting import (
    Model,
    assert_exact,
    assert_refused_for_a_reason,
    normal,
    quick,
    reasons,
    seeds,
    sizes,
    traced,
)

PADDING = ExplicitPadding(Options())
X = normal(1, 2, 3, 8, 7)


def tensorflow_same(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Zeros before and after by TensorFlow's documentation of `padding="SAME"`, which has two cases.

    Source: tf.nn, "Notes on padding".
    """
    span = (kernel - 1) * dilation + 1
    total = max(span - stride if size % stride == 0 else span - size % stride, 0)
    return total // 2, total - total // 2


@quick
@given(
    st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2), st.integers(0, 2),
    st.booleans(), sizes, sizes, seeds,
)  # fmt: skip
def test_padding_becomes_a_step_where_same_differs(
    kernel: int, width: int, stride: int, dilation: int, p: int, pw: int, bias: bool, h: int, w: int, seed: int
) -> None:
    conv = nn.Conv2d(3, 6, (kernel, width), stride, (p, pw), dilation, groups=3, bias=bias)
    model = Model({"conv": conv}, lambda m, x: m.conv(x), seed)
    x, other = normal(seed, 2, 3, h + 6, w + 6), normal(seed, 1, 3, w + 7, h + 6)
    same = (tensorflow_same(h + 6, kernel, stride, dilation), tensorflow_same(w + 6, width, stride, dilation))
    if not p and not pw:
        assert reasons(PADDING, model, x) == []
    elif same == ((p, p), (pw, pw)):
        assert reasons(PADDING, model, x) == ["SAME pads as it does"]
    else:
        graph = assert_exact(PADDING, model, x, other)
        assert graph.get_submodule("conv").padding == (0, 0)


@pytest.mark.parametrize(("kernel", "differs"), [(3, True), (2, True), (1, False)])
def test_a_strided_convolution_of_an_even_size(kernel: int, differs: bool) -> None:
    """What PyTorch's networks do at 224: one zero on each side, where SAME has one after alone."""
    conv = nn.Conv2d(3, 4, kernel, 2, kernel // 2)
    sites = PADDING.find(traced(Model({"conv": conv}, lambda m, x: m.conv(x)), normal(0, 1, 3, 8, 8)))
    assert [site.detail for site in sites] == (
        [f"zeros above, below, left, right: 1, 1, 1, 1; SAME has {'0, 1, 0, 1' if kernel == 3 else '0, 0, 0, 0'}"]
        if differs
        else []
    )


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_paddings_by_name(padding: str) -> None:
    """PyTorch's `same` exists for stride 1 alone, where it is TFLite's."""
    conv = nn.Conv2d(3, 4, (4, 3), padding=padding)
    told = reasons(PADDING, Model({"conv": conv}, lambda m, x: m.conv(x)), X)
    assert told == (["SAME pads as it does"] if padding == "same" else [])


def test_other_values_than_zeros_are_refused() -> None:
    conv = nn.Conv2d(3, 4, 3, 2, 1, padding_mode="reflect")
    assert_refused_for_a_reason(PADDING, Model({"conv": conv}, lambda m, x: m.conv(x)), X, "pads with reflect")


def test_a_layer_that_is_called_twice_is_refused() -> None:
    """Its padding belongs to both calls: without it the second is another function."""
    model = Model({"conv": nn.Conv2d(3, 3, 3, 2, 1)}, lambda m, x: m.conv(m.conv(x)))
    [first, second] = reasons(PADDING, model, X)
    assert first == second == "conv is called more than once"
