"""MTCNN's first two networks, written anew: of the package that has their weights, the code wants an old torch.

The layers are those of K. Zhang et al., Joint Face Detection and Alignment Using Multi-task Cascaded Convolutional
Networks (arXiv 1604.02878), and have the names of the weights in facenet-pytorch.

mobilekit export docs/examples/your_model/faces.py:make_pnet --weights own/facenet_pytorch/data/pnet.pt --input-size 96
"""

import torch
from torch import nn


class PNet(nn.Module):
    """Proposes faces: for each cell of a map, what a box is off by, and how likely it is a face."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.pool1 = nn.MaxPool2d(2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Take pictures (N, 3, H, W) of -1 to 1, and return maps of about half their size less 5."""
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return {"boxes": self.conv4_2(x), "faces": self.conv4_1(x).softmax(1)}


class RNet(nn.Module):
    """Judges a proposal of 24 x 24 pixels: what its box is off by, and how likely it is a face."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Take pictures (N, 3, 24, 24) of -1 to 1."""
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.pool2(self.prelu2(self.conv2(x)))
        x = self.prelu3(self.conv3(x)).permute(0, 3, 2, 1).flatten(1)
        x = self.prelu4(self.dense4(x))
        return {"boxes": self.dense5_2(x), "faces": self.dense5_1(x).softmax(1)}


def make_pnet() -> PNet:
    """Return the first network."""
    return PNet()


def make_rnet() -> RNet:
    """Return the second network."""
    return RNet()
