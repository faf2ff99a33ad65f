"""XNNPACK's kernels, by the names of their functions: how they are called in reports, and what of a graph they run."""

from __future__ import annotations

import re

_KERNEL = re.compile(r"xnn_(?P<family>\w+?)_ukernel(?P<tile>_[^_]+)?(__\w+)?")
_CLAMPS = re.compile(r"_(minmax|fp32|rndnu16|rndnu|magic|linear|relu)(?=_|$)")
_KLEIDI = re.compile(r"kai_(?:run|kernel)_(\w+?)(?:_(?:neon|sme|sve)\w*)?")  # Arm's KleidiAI, inside XNNPACK
_REFERENCE = re.compile(r"_ZN12_GLOBAL__N_1\d+r?(?:unary|binary)c?_ukernel_\w+?\d+([A-Z][A-Za-z]+?)OpI\w+")

# The first pattern that fits a kernel's family tells which ops of TFLite it can be part of.
_RUNS = (
    (r"dwconv", "DEPTHWISE_CONV_2D CONV_2D"),
    (r"_igemm|conv_hwc", "CONV_2D TRANSPOSE_CONV"),
    (r"gemm|spmm|kai_matmul", "CONV_2D FULLY_CONNECTED BATCH_MATMUL TRANSPOSE_CONV"),
    (r"vaddc?$|_Add$", "ADD SUB"),
    (r"vr?subc?|_Sub$", "SUB ADD"),
    (r"vmulc?$|vr?prelu|vlrelu|Multiply|ReLU|Prelu", "MUL PRELU LEAKY_RELU"),
    (r"vr?divc?|Divide", "DIV"),
    (r"vsqrdiffc?|SquaredDifference", "SQUARED_DIFFERENCE"),
    (r"vclamp|vmaxc?|vminc?|Clamp|_Max$|_Min$", "RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 MAXIMUM MINIMUM"),
    (r"raddstoreexp|rmax$", "SOFTMAX"),
    (r"avgpool|r?d?sum", "MEAN SUM AVERAGE_POOL_2D"),
    (r"maxpool", "MAX_POOL_2D"),
    (r"ibilinear", "RESIZE_BILINEAR"),
    (r"vsigmoid|Sigmoid", "LOGISTIC"),
    (r"vhswish|HardSwish", "HARD_SWISH"),
    (r"vcvt|Convert", "QUANTIZE DEQUANTIZE"),
    (r"transpose", "TRANSPOSE DEPTH_TO_SPACE SPACE_TO_DEPTH"),
    (r"xx_pad|xx_fill", "PAD PADV2"),
    (r"lut", "LOGISTIC TANH HARD_SWISH ELU GELU"),
    (r"copy|no kernel", "CONCATENATION RESHAPE SQUEEZE EXPAND_DIMS SLICE STRIDED_SLICE SPLIT SPLIT_V"),
    (r"vr?sqrt|SquareRoot", "SQRT RSQRT"),
    (
        r"vabs|vneg|vsqr|vtanh|velu|gelu|vexp|vlog|vsin|vcos|vrnd|_[A-Z]",
        "ABS NEG SQUARE TANH ELU GELU EXP LOG SIN COS FLOOR",
    ),
)
COPY = "copy"
"""What an operator that only moves values is called: it has no kernel of its own."""
NOTHING = "no kernel"
"""What an operator that does nothing is called, as a reshape in place."""


def short_name(function: str) -> str | None:
    """Return how reports call a kernel: `f32_gemm_6x8`; None where the function is no kernel."""
    if match := _KERNEL.fullmatch(function):
        return f"{_CLAMPS.sub('', match['family'])}{match['tile'] or ''}"
    if match := _KLEIDI.fullmatch(function):
        return f"kai_{match[1]}"
    match = _REFERENCE.fullmatch(function)
    return f"reference_{match[1]}" if match else None


def ops_run_by(kernel: str) -> frozenset[str]:
    """Return the ops of TFLite that a kernel, by its short name, can be part of."""
    return frozenset(next((ops for pattern, ops in _RUNS if re.search(pattern, kernel)), "").split())


def prepares(kernel: str, following: str) -> bool:
    """Return whether a kernel rounds a layer's input for the one that follows, as in dynamic-range files."""
    return kernel.startswith(("f32_qs8_vcvt", "f32_qu8_vcvt", "f32_rminmax")) and following.startswith("qd8_")
