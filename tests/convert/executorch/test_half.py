"""A program in float16: half a number inside, whole ones at its ends."""

from __future__ import annotations

import torch
from torch import nn

from mobilekit.convert.executorch.half import in_float16
from tests.programs import plain

SHAPE = (2, 3, 6, 6)


class Net(nn.Module):
    """A convolution, numbers that are made anew, and classes beside their scores."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.conv(x).relu() + torch.arange(4.0)
        scores = self.head(x.mean((2, 3)).float())
        return scores, scores.argmax(1)


def test_it_computes_in_float16_between_casts() -> None:
    program = plain(Net(), SHAPE)
    half = in_float16(program)
    steps = [node for node in half.graph.nodes if node.op == "call_function" and node.meta["val"] is not None]
    casts = [node for node in steps if node.target is torch.ops.aten.to.dtype and node.args[1] is torch.float32]
    assert [node.args[0].meta["val"].dtype for node in casts] == [torch.float16]  # type: ignore[union-attr]
    inside = {node.meta["val"].dtype for node in steps if node not in casts}
    assert inside == {torch.float16, torch.int64}
    assert {each.dtype for each in half.state_dict.values()} == {torch.float16}
    x = torch.randn(SHAPE)
    (scores, label), (exact, right) = half.module()(x), program.module()(x)
    assert (scores.dtype, label.dtype) == (torch.float32, torch.int64)
    assert torch.equal(label, right)
    assert 1e-5 < (scores - exact).norm() / exact.norm() < 2e-3
    assert program.state_dict["conv.weight"].dtype is torch.float32


def test_bytes_stay_bytes() -> None:
    class Levels(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.float() / 255

    picture = torch.randint(0, 256, SHAPE, dtype=torch.uint8)
    with torch.no_grad():
        half = in_float16(torch.export.export(Levels().eval(), (picture,)))
    (taken,) = (node for node in half.graph.nodes if node.op == "placeholder")
    assert taken.meta["val"].dtype is torch.uint8
    torch.testing.assert_close(half.module()(picture), picture / 255, rtol=1e-3, atol=1e-3)
