"""Packages of Core ML: read, and run where Core ML is."""
