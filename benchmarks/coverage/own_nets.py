"""Small nets for maps, boxes and finer images, as people write them: what no library of classifiers has."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


def _block(inside: int, outside: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, dilation, dilation, bias=False), nn.BatchNorm2d(outside), nn.ReLU()
    )


class UNet(nn.Module):
    """Convolutions down, transposed convolutions up, and what was before beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([_block(3, 8), _block(8, 16), _block(16, 32)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)])
        self.join = nn.ModuleList([_block(32, 16), _block(16, 8)])
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> Any:  # noqa: D102
        kept: list[torch.Tensor] = []
        for down in self.down:
            x = down(F.max_pool2d(x, 2) if kept else x)
            kept.append(x)
        for up, join, before in zip(self.up, self.join, reversed(kept[:-1]), strict=True):
            x = join(torch.cat([before, up(x)], 1))
        return self.head(x)


class DeepLab(nn.Module):
    """Dilated branches and the mean of the whole map, back to the image's size."""

    def __init__(self, align_corners: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.body = nn.Sequential(_block(3, 12, 2), _block(12, 24, 2), _block(24, 32, 2))
        self.branches = nn.ModuleList([nn.Conv2d(32, 16, 1), *(_block(32, 16, 1, rate) for rate in (2, 4))])
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(32, 16, 1), nn.ReLU())
        self.head = nn.Sequential(_block(64, 16), nn.Conv2d(16, 5, 1))

    def forward(self, x: torch.Tensor) -> Any:  # noqa: D102
        found = self.body(x)
        whole = F.interpolate(self.whole(found), found.shape[2:], mode="bilinear", align_corners=False)
        found = self.head(torch.cat([branch(found) for branch in self.branches] + [whole], 1))
        return {"out": F.interpolate(found, x.shape[2:], mode="bilinear", align_corners=self.align_corners)}


class PyramidPool(nn.Module):
    """Means of 1, 2, 3 and 6 parts a side, as PSPNet has them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(_block(3, 12, 2), _block(12, 24, 2))
        self.pools = nn.ModuleList(
            [nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Conv2d(24, 6, 1)) for side in (1, 2, 3, 6)]
        )
        self.head = nn.Conv2d(48, 5, 3, padding=1)

    def forward(self, x: torch.Tensor) -> Any:  # noqa: D102
        found = self.body(x)
        size = found.shape[2:]
        pools = [F.interpolate(pool(found), size, mode="bilinear", align_corners=True) for pool in self.pools]
        return self.head(torch.cat([found, *pools], 1))


class Detector(nn.Module):
    """A pyramid of maps with one head for all: scores, distances to the sides and centers, as FCOS has them."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([_block(3, 16, 4), _block(16, 24, 2), _block(24, 32, 2)])
        self.side = nn.ModuleList([nn.Conv2d(width, 16, 1) for width in (16, 24, 32)])
        self.tower = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU())
        self.scores, self.boxes = nn.Conv2d(16, 3, 3, padding=1), nn.Conv2d(16, 4, 3, padding=1)
        self.scales = nn.Parameter(torch.tensor([1.0, 1.2, 0.8]))

    def forward(self, x: torch.Tensor) -> Any:  # noqa: D102
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        tops = [self.side[-1](maps[-1])]
        for side, found in zip(list(self.side)[-2::-1], maps[-2::-1], strict=True):
            tops.insert(0, side(found) + F.interpolate(tops[0], scale_factor=2, mode="nearest"))
        towers = [self.tower(top) for top in tops]
        scores = [self.scores(tower).flatten(2).transpose(1, 2) for tower in towers]
        boxes = [
            F.relu(self.boxes(tower) * self.scales[number]).permute(0, 2, 3, 1).reshape(len(x), -1, 4)
            for number, tower in enumerate(towers)
        ]
        return torch.cat(scores, 1).sigmoid(), torch.cat(boxes, 1)


class Yolo(nn.Module):
    """Pixels moved into channels, split blocks, pools in a row, and boxes read off a grid."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(12, 16, 3, padding=1)
        self.a, self.b = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.down = nn.Conv2d(32, 32, 3, 2, 1)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.head = nn.Conv2d(128, 2 * 7, 1)
        self.anchors: torch.Tensor
        self.register_buffer("anchors", torch.tensor([[10.0, 13.0], [33.0, 23.0]]).view(1, 2, 1, 1, 2))

    def forward(self, x: torch.Tensor) -> Any:  # noqa: D102
        x = torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)
        first, second = F.silu(self.stem(x)).chunk(2, 1)
        a = F.silu(self.a(second))
        x = F.silu(self.down(torch.cat([first, second, a, F.silu(self.b(a))], 1)))
        pools = [x]
        for _ in range(3):
            pools.append(self.pool(pools[-1]))
        x = self.head(torch.cat(pools, 1))
        count, _, rows, columns = x.shape
        x = x.view(count, 2, 7, rows, columns).permute(0, 1, 3, 4, 2).sigmoid()
        down, across = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        grid = torch.stack((across, down), 2).view(1, 1, rows, columns, 2).float()
        centers = (x[..., :2] * 2 - 0.5 + grid) * 4
        sides = (x[..., 2:4] * 2) ** 2 * self.anchors
        return torch.cat((centers, sides, x[..., 4:]), -1).view(count, -1, 7)


class CenterPoints(nn.Module):
    """Peaks of a map of scores, and sizes and offsets beside them, as CenterNet has them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(_block(3, 16, 2), _block(16, 32, 2), _block(32, 32, 2))
        self.up = nn.Sequential(
            nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), _block(16, 16)
        )
        self.scores, self.sizes = nn.Conv2d(16, 3, 1), nn.Conv2d(16, 4, 1)

    def forward(self, x: torch.Tensor) -> Any:  # noqa: D102
        x = self.up(self.body(x))
        scores = torch.sigmoid(self.scores(x))
        peaks = (F.max_pool2d(scores, 3, 1, 1) == scores).float()
        return {"peaks": scores * peaks, "sizes": self.sizes(x)}


class Finer(nn.Module):
    """A residual block and pixels out of channels, as EDSR and ESPCN have it, on top of a resized image."""

    def __init__(self, factor: int, resized: str) -> None:
        super().__init__()
        self.factor, self.resized = factor, resized
        self.head = nn.Conv2d(3, 16, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.PReLU(16), nn.Conv2d(16, 16, 3, padding=1))
        self.tail = nn.Sequential(nn.Conv2d(16, 3 * factor**2, 3, padding=1), nn.PixelShuffle(factor))

    def forward(self, x: torch.Tensor) -> Any:  # noqa: D102
        found = self.head(x)
        found = found + 0.1 * self.block(found)
        return self.tail(found) + F.interpolate(x, scale_factor=self.factor, mode=self.resized)


class FastFiner(nn.Module):
    """A transposed convolution with an odd kernel and padding of its output, as FSRCNN has it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 5, padding=2), nn.PReLU(), nn.Conv2d(16, 8, 1), nn.PReLU(8), nn.Conv2d(8, 16, 3, padding=1)
        )
        self.tail = nn.ConvTranspose2d(16, 3, 9, 3, 4, output_padding=2)

    def forward(self, x: torch.Tensor) -> Any:  # noqa: D102
        return self.tail(self.body(x)).clamp(-4, 4)


class Style(nn.Module):
    """Reflected borders and norms of each image by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(2),
            nn.Conv2d(3, 12, 5, 2),
            nn.InstanceNorm2d(12, affine=True),
            nn.ReLU(),
            nn.Upsample(scale_factor=2, mode="nearest"),
            nn.ReplicationPad2d(1),
            nn.Conv2d(12, 3, 3),
            nn.Tanh(),
        )

    def forward(self, x: torch.Tensor) -> Any:  # noqa: D102
        return self.layers(x)


class KeyPoints(nn.Module):
    """Coordinates as the mean of places, weighted by a softmax over the map."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(_block(3, 16, 2), _block(16, 24, 2), nn.Conv2d(24, 5, 1))

    def forward(self, x: torch.Tensor) -> Any:  # noqa: D102
        maps = self.body(x)
        count, points, rows, columns = maps.shape
        shares = maps.view(count, points, -1).softmax(-1).view(count, points, rows, columns)
        across = (shares.sum(2) * torch.linspace(-1, 1, columns)).sum(-1)
        down = (shares.sum(3) * torch.linspace(-1, 1, rows)).sum(-1)
        return torch.stack([across, down], -1)


OWN = {
    "unet": (64, UNet),
    "deeplab": (64, lambda: DeepLab(False)),
    "deeplab_corners": (64, lambda: DeepLab(True)),
    "pyramid_pool": (48, PyramidPool),
    "detector": (64, Detector),
    "yolo": (64, Yolo),
    "center_points": (64, CenterPoints),
    "finer_x2": (32, lambda: Finer(2, "bilinear")),
    "finer_x3": (32, lambda: Finer(3, "nearest")),
    "finer_bicubic": (32, lambda: Finer(2, "bicubic")),
    "fast_finer": (32, FastFiner),
    "style": (48, Style),
    "key_points": (64, KeyPoints),
}
"""Side of the input and the class or factory, by name."""
