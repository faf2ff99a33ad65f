"""Reference models, written as their papers write them."""

from mobilekit.models.families import efficientvit, efficientvit_v1, ghostnet, ghostnetv2, shufflenet

__all__ = ["efficientvit", "efficientvit_v1", "ghostnet", "ghostnetv2", "shufflenet"]
