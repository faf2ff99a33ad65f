"""From a rewritten model to programs of ExecuTorch, whose own compiler has a Python of its own."""
