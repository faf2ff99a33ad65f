"""What stays on disk: bundles, the cache, and files that appear whole or not at all."""
