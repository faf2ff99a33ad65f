"""Programs of ExecuTorch: read here, run by its own runtime, which has a Python of its own."""
