"""`mobilekit recover`."""
