"""Real inputs: photos and digits, made into tensors as a recipe says."""
