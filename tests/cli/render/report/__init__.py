"""Tests of mobilekit.cli.render.report."""
