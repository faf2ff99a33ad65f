"""Outputs have names that fit files and stay apart, and a row for each image, also where a model takes one alone."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import pytest
import torch

from mobilekit.errors import UsageError
from mobilekit.models.outputs import named_outputs

ONE, TWO = torch.zeros(1, 5), torch.zeros(1, 3, 4, 4)
Pair = namedtuple("Pair", ["first", "second"])


@pytest.mark.parametrize(
    ("result", "names"),
    [
        (ONE, ["logits"]),
        (TWO, ["output"]),
        (torch.tensor(1.0), ["output"]),
        ((ONE, TWO), ["output_0", "output_1"]),
        ({"p3": TWO, "boxes": [ONE, ONE]}, ["p3", "boxes_0", "boxes_1"]),
        (Pair(ONE, TWO), ["first", "second"]),
        ((ONE, None), ["output_0"]),
        ({"a b": ONE}, ["a_b"]),
        ({0: ONE, "": ONE, "1/2": ONE}, ["output_0", "output", "output_1_2"]),
        ({"é": ONE, "größe": ONE, "分数": ONE}, ["e", "gro_e", "__"]),
        ({"p/3": ONE, "p.3": ONE, "p:3": ONE}, ["p_3", "p_3_1", "p_3_2"]),
        ({"p/3": ONE, "p.3": ONE, "p_3_1": ONE}, ["p_3", "p_3_2", "p_3_1"]),
        ({"a_b": ONE, "a": {"b": ONE}}, ["a_b", "a_b_1"]),
    ],
)
def test_names(result: Any, names: list[str]) -> None:
    assert list(named_outputs(result)) == names


def test_what_is_no_tensor_is_told_with_its_place() -> None:
    with pytest.raises(UsageError, match="int at output_1"):
        named_outputs((ONE, 3))
    with pytest.raises(UsageError, match="returns no tensor"):
        named_outputs({"aux": None})
