"""Reference models, written as their papers write them."""

from mobilekit.models import ghostnet, ghostnetv2

__all__ = ["ghostnet", "ghostnetv2"]
