"""The graph that rewrites work on, and its vocabulary."""
