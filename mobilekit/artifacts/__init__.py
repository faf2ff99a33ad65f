"""Runs artifacts: one small interface for PyTorch, ONNX Runtime and LiteRT."""
