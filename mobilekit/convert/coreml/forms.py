"""Steps of a program in forms that coremltools takes, and of which it loses nothing."""

from __future__ import annotations

import torch
from torch.fx import Node

from mobilekit.convert.program.arithmetic_forms import float_number, gelu, reversed_difference
from mobilekit.convert.program.forms import Forms
from mobilekit.convert.program.graph import NUMBERS, Writer, given
from mobilekit.convert.program.map_forms import average_pool, resized
from mobilekit.convert.program.shape_forms import NOTHING, constant, filled, negative_pad, nothing

aten = torch.ops.aten


def _own_divisor(writer: Writer, node: Node) -> Node | None:
    """Return an average pool with a divisor of its own as one with a factor."""
    return average_pool(writer, node) if given(node)["divisor_override"] else None


_LIKE = (aten.new_ones.default, aten.new_zeros.default, aten.new_full.default)
_RESIZES = (
    *(aten.upsample_nearest2d.vec, aten.upsample_bilinear2d.vec, aten.upsample_bicubic2d.vec),
    *(aten._upsample_nearest_exact2d.vec, aten._upsample_bilinear2d_aa.vec, aten._upsample_bicubic2d_aa.vec),
)
FORMS = Forms(
    "Core ML",
    {
        aten.avg_pool2d.default: _own_divisor,
        aten.gelu.default: gelu,
        **dict.fromkeys(NOTHING, nothing),
        **dict.fromkeys((aten.pad.default, aten.constant_pad_nd.default), negative_pad),
        **dict.fromkeys((aten.add.Tensor, aten.sub.Tensor), float_number),
        **dict.fromkeys((aten.rsub.Tensor, aten.rsub.Scalar), reversed_difference),
        **dict.fromkeys(NUMBERS, constant),
        **dict.fromkeys((*_LIKE, aten.ones_like.default, aten.zeros_like.default, aten.full_like.default), filled),
        **dict.fromkeys(_RESIZES, resized),
    },
)
