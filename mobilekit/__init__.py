"""mobilekit takes a PyTorch vision model to ONNX and TFLite and proves what arrived there."""

__version__ = "0.1.0"
