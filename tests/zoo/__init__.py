"""Whole models of the zoo, converted: run by `make test-zoo`."""
