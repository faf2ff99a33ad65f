"""What float16 and int8 will do to the activations."""
