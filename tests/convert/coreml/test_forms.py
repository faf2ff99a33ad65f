"""The forms in which steps are converted: the same function, without what coremltools loses or refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mobilekit.convert.coreml.forms import FORMS
from mobilekit.convert.coreml.lost import check_kept
from mobilekit.convert.program.forms import in_forms
from mobilekit.errors import ToolError
from tests.programs import plain

MAP = (2, 4, 6, 8)
Step = Callable[[torch.Tensor], torch.Tensor]
aten = torch.ops.aten
STEPS: dict[str, tuple[Step, object]] = {
    "a slice of everything": (lambda x: aten.slice.Tensor(x, 1, 0, 9), aten.slice.Tensor),
    "GELU's tanh form": (lambda x: F.gelu(x, approximate="tanh"), aten.gelu.default),
    "a divisor of a pool's own": (lambda x: F.avg_pool2d(x, (2, 3), 2, divisor_override=5), None),
    "new ones": (lambda x: x * x.new_ones(1, 4, 1, 1), aten.new_ones.default),
    "numbers like a map": (lambda x: x + torch.full_like(x, 2.0), aten.full_like.default),
    "nearest to 13 x 17": (lambda x: F.interpolate(x, (13, 17)), aten.upsample_nearest2d.vec),
    "bilinear by 1.5": (lambda x: F.interpolate(x, None, 1.5, "bilinear"), aten.upsample_bilinear2d.vec),
    "bilinear with corners": (
        lambda x: F.interpolate(x, (7, 9), mode="bilinear", align_corners=True),
        aten.upsample_bilinear2d.vec,
    ),
    "bicubic": (lambda x: F.interpolate(x, (12, 16), mode="bicubic"), aten.upsample_bicubic2d.vec),
    "smoothed": (
        lambda x: F.interpolate(x, (3, 4), mode="bilinear", antialias=True),
        aten._upsample_bilinear2d_aa.vec,
    ),
    "a negative padding": (lambda x: F.pad(x, (-1, 2, 1, -2)), None),
    "a sum with a factor": (lambda x: torch.add(x, x.sigmoid(), alpha=3), None),
    "a difference with a factor": (lambda x: torch.sub(x, x.sigmoid(), alpha=3), None),
    "a reversed difference with a factor": (lambda x: torch.rsub(x, x.sigmoid(), alpha=3), None),
    "a reversed difference from a number": (lambda x: torch.rsub(x, 2.0, alpha=3), None),
}


class Called(nn.Module):
    """A step as a net."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.step(x)


@pytest.mark.parametrize("name", STEPS)
def test_a_form_is_the_same_function_without_the_step(name: str) -> None:
    step, gone = STEPS[name]
    before = plain(Called(step), MAP)
    after = in_forms(before, (torch.zeros(MAP),), FORMS)
    assert after is not before
    assert gone not in {node.target for node in after.graph.nodes}
    x = torch.randn(MAP)
    torch.testing.assert_close(after.module()(x), step(x), rtol=1e-5, atol=1e-5)
    check_kept(after.run_decompositions({}))


@pytest.mark.parametrize(
    "step",
    [
        lambda x: F.interpolate(x, scale_factor=2),
        lambda x: F.interpolate(x, (12, 24), mode="bilinear"),
        lambda x: F.avg_pool2d(x, 3, 2, 1),
        lambda x: F.gelu(x),
        lambda x: x - x.sigmoid(),
    ],
)
def test_what_coremltools_converts_rightly_stays(step: Step) -> None:
    program = plain(Called(step), MAP)
    assert in_forms(program, (torch.zeros(MAP),), FORMS) is program
    check_kept(program.run_decompositions({}))


@pytest.mark.parametrize(
    ("step", "what"),
    [
        (lambda x: torch.add(x, x.sigmoid(), alpha=3), "alpha=3 of add"),
        (lambda x: torch.rsub(x, 2.0, alpha=3), None),
        (lambda x: F.gelu(x, approximate="tanh"), "approximate=tanh of gelu"),
        (lambda x: F.softplus(x, 1.0, 3.0), "threshold=3 of softplus"),
        (lambda x: F.softplus(x), None),
        (lambda x: torch.div(x, 3.0, rounding_mode="floor"), None),
        (lambda x: x.int().sum(1, dtype=torch.float32), "dtype=torch.float32 of sum"),
        (lambda x: x * torch.ones(1, 4, 1, 1, dtype=torch.float32, device="cpu"), None),
    ],
)
def test_what_would_be_lost_is_refused(step: Step, what: str | None) -> None:
    program = plain(Called(step), MAP).run_decompositions({})
    if what is None:
        check_kept(program)
        return
    with pytest.raises(ToolError, match=f"coremltools would lose {what}.*, without a word"):
        check_kept(program)
