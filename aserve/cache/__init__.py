"""Cached responses, and the files that each of them depends on."""
