"""EfficientNet-Lite1 and Lite2 by the code of a package that get.py has unpacked; that folder is on PYTHONPATH.

mobilekit export docs/examples/your_model/lite.py:make --weights F.pth --input-size 240
"""

from efficientnet_lite_pytorch import EfficientNet


def make() -> EfficientNet:
    """Return the network; mobilekit calls this, and loads the weights into it."""
    return EfficientNet.from_name("efficientnet-lite1")


def make_lite2() -> EfficientNet:
    """Return Lite2, for 260 x 260 pictures."""
    return EfficientNet.from_name("efficientnet-lite2")
