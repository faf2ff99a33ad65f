"""Every stage measured against the one before it and against the reference: the drift ledger."""
