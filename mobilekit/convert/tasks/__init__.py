"""The tasks that run in a process of their own."""
