"""Ledgers and bundles as people read them."""
