"""What torch.export refuses, and what it takes and a file cannot hold: two lines, with the user's file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.rewrites.fx.graph import trace


class Net(nn.Module):
    """A buffer, and what to do with it."""

    def __init__(self, body: Callable[[Net, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("count", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(self, x)


def branch(net: Net, x: torch.Tensor) -> torch.Tensor:
    if x.mean() > 0:  # HERE
        return x
    return -x


def loop(net: Net, x: torch.Tensor) -> torch.Tensor:
    while x.sum() < 10:  # HERE
        x = x + 1
    return x


def number(net: Net, x: torch.Tensor) -> torch.Tensor:
    return x * x.mean().item()  # HERE


def size(net: Net, x: torch.Tensor) -> torch.Tensor:
    return x[:, :, : int(x.max().item())]  # HERE


def chosen(net: Net, x: torch.Tensor) -> torch.Tensor:
    return x[x > 0]  # HERE


def found(net: Net, x: torch.Tensor) -> torch.Tensor:
    return torch.nonzero(x)  # HERE


def counted(net: Net, x: torch.Tensor) -> torch.Tensor:
    net.count += 1  # HERE
    return x + net.count.view(3, 1, 1)


def remembered(net: Net, x: torch.Tensor) -> torch.Tensor:
    net.count[1:] = x.mean()  # HERE
    return x


def in_numpy(net: Net, x: torch.Tensor) -> torch.Tensor:
    return x + torch.from_numpy(x.numpy())  # HERE


def in_windows(net: Net, x: torch.Tensor) -> torch.Tensor:
    y = x * 1.0
    y.unfold(2, 2, 2).add_(1)  # HERE
    return y


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (branch, "asks for the value of a tensor"),
        (loop, "asks for the value of a tensor"),
        (number, "asks for the value of a tensor"),
        (size, "asks for the value of a tensor"),
        (chosen, "The shape of a tensor depends on values"),
        (found, "The shape of a tensor depends on values"),
        (counted, "The model changes its own count as it runs"),
        (remembered, "The model changes its own count as it runs"),
        (in_numpy, ".numpy() is not supported"),
        (in_windows, "changes a tensor in place"),
    ],
)
def test_two_lines_say_what_and_where(
    body: Callable[[Net, torch.Tensor], torch.Tensor], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = Path(__file__).read_text().splitlines()
    start = body.__code__.co_firstlineno
    line = next(number for number, text in enumerate(lines, 1) if number > start and "# HERE" in text)
    with pytest.raises(UsageError) as caught:
        trace(Net(body), {"input": torch.ones(2, 3, 4, 4)})
    assert says in caught.value.what
    assert f"{Path(__file__).name}:{line}: {lines[line - 1].split('  #')[0].strip()}" in caught.value.what
    assert len(str(caught.value).splitlines()) == 2
    assert capfd.readouterr() == ("", "")


def test_what_forward_makes_itself_may_be_changed() -> None:
    def own(net: Net, x: torch.Tensor) -> torch.Tensor:
        steps = torch.tensor([1.0, 2.0, 3.0])
        steps += net.count
        mask = torch.zeros(3)
        mask[1] = 2.0
        return x * (steps + mask).view(3, 1, 1)

    net, x = Net(own), torch.randn(2, 3, 4, 4)
    assert torch.equal(trace(net, {"input": x})(x), net(x))


def test_a_batch_norm_in_evaluation_changes_nothing() -> None:
    net, x = nn.BatchNorm2d(3).eval(), torch.randn(2, 3, 4, 4)
    assert torch.equal(trace(net, {"input": x})(x), net(x))
