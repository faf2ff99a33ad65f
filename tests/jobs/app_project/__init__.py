"""Tests of jobs/app_project."""
