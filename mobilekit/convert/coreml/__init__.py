"""From a rewritten model to a program of Core ML, by coremltools."""
