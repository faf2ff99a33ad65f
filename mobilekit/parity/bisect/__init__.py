"""Which op of an artifact is wrong."""
