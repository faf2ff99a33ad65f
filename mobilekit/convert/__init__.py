"""From a rewritten model to ONNX and TFLite."""
