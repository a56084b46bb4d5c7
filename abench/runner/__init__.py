"""Runs: worker processes, their coordinator, and what is measured around them."""
