"""A small project around a bundle: an app for the web, for Android, or in Python, with its golden test."""
