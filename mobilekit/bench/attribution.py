"""Which op of a TFLite file each row of benchmark_model's profile belongs to.

Ops outside delegates stand in the profile with their own type and number. A delegate names the steps inside it in its
own words, in the order of the graph, some ops as several steps and some as none. They are laid beside the file's ops so
that as many as possible fit; a step that fits none belongs to the op before it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mobilekit.bench.kinds import Op
from mobilekit.bench.op_profile import OpProfile, ProfileRow

# XNNPACK's names of its operators (xnn_operator_type_to_string), and the TFLite ops that they carry out.
_STEPS = (
    (r"DWConv|Depthwise", "DEPTHWISE_CONV_2D"),
    (r"Deconvolution", "TRANSPOSE_CONV"),
    (r"Convolution", "CONV_2D FULLY_CONNECTED"),
    (r"Fully Connected|Dynamic Fully", "FULLY_CONNECTED CONV_2D"),
    (r"Batch Matrix Multiply", "BATCH_MATMUL"),
    (r"Average Pooling|Reduce|Mean|Sum", "AVERAGE_POOL_2D MEAN SUM"),
    (r"Max Pooling", "MAX_POOL_2D"),
    (r"Resize Bilinear", "RESIZE_BILINEAR"),
    (r"Constant Pad", "PAD PADV2"),
    (r"Softmax", "SOFTMAX"),
    (r"Sigmoid", "LOGISTIC"),
    (r"Hard ?Swish", "HARD_SWISH"),
    (r"Clamp", "RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 MAXIMUM MINIMUM"),
    (r"Add|Subtract|Multiply|Divide|Maximum|Minimum|Squared Difference|Binary", "ADD SUB MUL DIV MAXIMUM MINIMUM"),
    (
        r"Square Root|Reciprocal|Unary|Abs|Negate|Square|TanH|ELU|GELU|Exp",
        "SQRT RSQRT ABS NEG SQUARE TANH ELU GELU EXP",
    ),
    (r"Transpose|Depth To Space|Space To Depth", "TRANSPOSE DEPTH_TO_SPACE SPACE_TO_DEPTH"),
    (r"Slice", "SLICE STRIDED_SLICE SPLIT SPLIT_V"),
    (r"Copy", "CONCATENATION RESHAPE SQUEEZE EXPAND_DIMS"),
    (r"Convert", "QUANTIZE DEQUANTIZE"),
)
_DELEGATE_ROW = re.compile(r"delegate", re.IGNORECASE)
_INSIDE_NAME = "Delegate/"


@dataclass(frozen=True)
class Attribution:
    """The time of each op."""

    ms: dict[int, float]
    """By the op's index; ops of which nothing is said are missing."""
    own: frozenset[int]
    """The ops that no delegate took."""
    unplaced_ms: float
    """Time of rows that belong to no op."""
    partitions: int


def attribute(ops: Sequence[Op], profile: OpProfile) -> Attribution:
    """Return the time of each op of a file in a profile of it.

    Args:
        ops: The file's ops, in order.
        profile: What benchmark_model said of a run of the file.
    """
    ms: dict[int, float] = defaultdict(float)
    types = {op.index: op.op for op in ops}
    by_tensor = {op.tensor: op.index for op in ops}
    own: set[int] = set()
    steps = [row for row in profile.of("inside") if row.subgraph == 0]
    wholes: list[ProfileRow] = []
    unplaced = 0.0
    for row in profile.run:
        node = by_tensor.get(row.name.split(", ")[0]) if row.node is None else row.node  # old versions give no number
        if node is not None and types.get(node) == row.type and not row.name.startswith(_INSIDE_NAME):
            ms[node] += _per_run(row)
            own.add(node)
        elif row.name.startswith(_INSIDE_NAME):
            steps.append(row)
        elif _DELEGATE_ROW.search(row.type):
            wholes.append(row)
        else:
            unplaced += _per_run(row)
    taken = [op for op in ops if op.index not in own]
    for step, index in zip(steps, place_steps([row.type for row in steps], taken), strict=True):
        if index is None:
            unplaced += _per_run(step)
        else:
            ms[index] += _per_run(step)
    # Where a delegate's row stands beside its steps, the row holds their time as well.
    unplaced += max(0.0, sum(map(_per_run, wholes)) - (sum(map(_per_run, steps)) if wholes else 0.0))
    return Attribution(dict(ms), frozenset(own), unplaced, len(wholes))


def _per_run(row: ProfileRow) -> float:
    """Return the ms of a row in one inference."""
    return row.mean_us / 1000 * max(row.times_called or 1, 1)


def place_steps(steps: Sequence[str], ops: Sequence[Op]) -> list[int | None]:
    """Return the index of the op that each step of a delegate belongs to; None before the first that fits."""
    return place([_ops_of(step) for step in steps], ops)


def place(fits: Sequence[frozenset[str]], ops: Sequence[Op]) -> list[int | None]:
    """Return the index of the op that each step belongs to; None before the first that fits.

    The pairs are a longest common subsequence under "this step can carry out that op".

    Args:
        fits: For each step, the kinds of ops that it can carry out.
        ops: The ops, in order.
    """
    longest = [[0] * (len(ops) + 1) for _ in range(len(fits) + 1)]
    for i in reversed(range(len(fits))):
        for j in reversed(range(len(ops))):
            longest[i][j] = max(longest[i + 1][j], longest[i][j + 1])
            if ops[j].op in fits[i]:
                longest[i][j] = max(longest[i][j], longest[i + 1][j + 1] + 1)
    places: list[int | None] = []
    i = j = 0
    last = None
    while i < len(fits):
        if j < len(ops) and ops[j].op in fits[i] and longest[i][j] == longest[i + 1][j + 1] + 1:
            last = ops[j].index
            j += 1
        elif longest[i][j] != longest[i + 1][j]:  # this step fits an op further on
            j += 1
            continue
        places.append(last)
        i += 1
    return places


def _ops_of(step: str) -> frozenset[str]:
    words = next((names for pattern, names in _STEPS if re.search(pattern, step)), "")
    return frozenset(words.split())
