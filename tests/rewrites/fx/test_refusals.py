"""What torch.export refuses, and what it takes and a file cannot hold: two lines, with the user's file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.rewrites.fx.graph import trace


class Net(nn.Module):
    """A buffer, which the models here change or leave."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(3))


class Branch(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.mean() > 0:  # HERE
            return x
        return -x


class Loop(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        while x.sum() < 10:  # HERE
            x = x + 1
        return x


class Number(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x.mean().item()  # HERE


class Size(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, : int(x.max().item())]  # HERE


class Chosen(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[x > 0]  # HERE


class Found(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nonzero(x)  # HERE


class Counted(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1  # HERE
        return x + self.count.view(3, 1, 1)


class Remembered(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count[1:] = x.mean()  # HERE
        return x


class InNumPy(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.from_numpy(x.numpy())  # HERE


class InHalf(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.half().float()  # HERE


class InWindows(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 1.0
        y.unfold(2, 2, 2).add_(1)  # HERE
        return y


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (Branch, "asks for the value of a tensor"),
        (Loop, "asks for the value of a tensor"),
        (Number, "asks for the value of a tensor"),
        (Size, "asks for the value of a tensor"),
        (Chosen, "The shape of a tensor depends on values"),
        (Found, "The shape of a tensor depends on values"),
        (Counted, "The model changes its own count as it runs"),
        (Remembered, "The model changes its own count as it runs"),
        (InNumPy, ".numpy() is not supported"),
        (InHalf, "The model computes in float16"),
        (InWindows, "changes a tensor in place"),
    ],
)
def test_two_lines_say_what_and_where(kind: type[nn.Module], says: str, capfd: pytest.CaptureFixture[str]) -> None:
    lines = Path(__file__).read_text().splitlines()
    start = kind.forward.__code__.co_firstlineno
    line = next(number for number, text in enumerate(lines, 1) if number > start and "# HERE" in text)
    with pytest.raises(UsageError) as caught:
        trace(kind(), {"input": torch.ones(2, 3, 4, 4)})
    assert says in caught.value.what
    assert f"{Path(__file__).name}:{line}: {lines[line - 1].split('  #')[0].strip()}" in caught.value.what
    assert len(str(caught.value).splitlines()) == 2
    assert capfd.readouterr() == ("", "")


def test_what_forward_makes_itself_may_be_changed() -> None:
    class Own(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            steps = torch.tensor([1.0, 2.0, 3.0])
            steps += self.count
            mask = torch.zeros(3)
            mask[1] = 2.0
            return x * (steps + mask).view(3, 1, 1)

    net, x = Own(), torch.randn(2, 3, 4, 4)
    assert torch.equal(trace(net, {"input": x})(x), net(x))


def test_a_table_may_be_stored_in_half_floats() -> None:
    class Table(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.table.float().view(3, 1, 1)

    net, x = Table(), torch.randn(2, 3, 4, 4)
    net.register_buffer("table", torch.randn(3).half())
    assert torch.equal(trace(net, {"input": x})(x), net(x))


def test_a_batch_norm_in_evaluation_changes_nothing() -> None:
    net, x = nn.BatchNorm2d(3).eval(), torch.randn(2, 3, 4, 4)
    assert torch.equal(trace(net, {"input": x})(x), net(x))
