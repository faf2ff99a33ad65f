"""onnx2tf's direct writer, and the exact passes over the files that it makes."""
