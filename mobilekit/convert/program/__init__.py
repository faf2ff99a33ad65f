"""A rewritten model as a program of torch's, in forms that its next compiler takes and computes rightly."""
