"""How a float32 TFLite file is made ready for int8: what its tensors hold, their ranges, and its biases."""
