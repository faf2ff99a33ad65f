"""Steps of a program in forms that XNNPACK's partitioner of ExecuTorch takes, and in which it computes them rightly.

What it does not take it says nothing of: the graph is cut there.
"""

from __future__ import annotations

import torch

from mobilekit.convert.program.arithmetic_forms import (
    CLAMPS,
    float_number,
    gelu,
    mean,
    one_clamp,
    sum_of,
)
from mobilekit.convert.program.attention_forms import attention, matmul, softmax
from mobilekit.convert.program.forms import Forms
from mobilekit.convert.program.graph import NUMBERS
from mobilekit.convert.program.map_forms import adaptive_pool, average_pool, bilinear, nearest
from mobilekit.convert.program.moved_forms import in_place
from mobilekit.convert.program.norm_forms import group_norm, instance_norm, layer_norm
from mobilekit.convert.program.shape_forms import (
    NOTHING,
    constant,
    copies,
    expanded,
    negative_pad,
    nothing,
    other_view,
    parts,
    selected,
)

aten = torch.ops.aten
_FORMS = {
    aten.cat.default: copies,
    aten.adaptive_avg_pool2d.default: adaptive_pool,
    aten.avg_pool2d.default: average_pool,
    aten.mean.dim: mean,
    aten.sum.dim_IntList: sum_of,
    aten.upsample_nearest2d.vec: nearest,
    aten.upsample_bilinear2d.vec: bilinear,
    aten.matmul.default: matmul,
    aten.scaled_dot_product_attention.default: attention,
    aten.layer_norm.default: layer_norm,
    aten.group_norm.default: group_norm,
    aten.instance_norm.default: instance_norm,
    aten.softmax.int: softmax,
    aten.gelu.default: gelu,
    aten.expand.default: expanded,
    aten.select.int: selected,
    **dict.fromkeys(NOTHING, nothing),
    **dict.fromkeys((aten.pad.default, aten.constant_pad_nd.default), negative_pad),
    **dict.fromkeys((aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default), parts),
    **dict.fromkeys(
        (aten.unsqueeze.default, aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.flatten.using_ints),
        other_view,
    ),
    **dict.fromkeys(CLAMPS, one_clamp),
    **dict.fromkeys((aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor), float_number),
    **dict.fromkeys(NUMBERS, constant),
}
FORMS = Forms("ExecuTorch", _FORMS, {aten.permute.default: in_place})
