"""What runs an artifact: each target's own compiler, asked what it takes of a file. One target a file."""
