"""Mixed precision by measurement."""
