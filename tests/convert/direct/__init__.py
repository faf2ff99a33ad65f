"""Tests of onnx2tf's direct writer and the passes over its files."""
