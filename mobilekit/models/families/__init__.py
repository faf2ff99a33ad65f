"""The reference families, one file each."""
