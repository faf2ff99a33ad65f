"""The digits' GhostNetV2 as hard_gates.yaml rewrites it; its tuned weights are a checkpoint of its own.

mobilekit export docs/examples/tuned_digits.py:make_tuned --weights tuned.safetensors --recipe ghostnetv2_digits
"""

from pathlib import Path

from torch import nn

import mobilekit

RECIPE = Path(__file__).with_name("hard_gates.yaml")


def make_tuned() -> nn.Module:
    """Return the rewritten network, not tuned yet; mobilekit calls this, and loads the weights into it."""
    return mobilekit.rewrite(mobilekit.load_model("ghostnetv2_digits"), RECIPE, prove=False)
