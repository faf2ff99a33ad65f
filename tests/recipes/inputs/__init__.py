"""Tests of recipes/inputs."""
