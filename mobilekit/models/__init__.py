"""Reference models, written as their papers write them."""
