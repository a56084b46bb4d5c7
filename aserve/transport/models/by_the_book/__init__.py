"""Patterns step by step as textbooks number them; the models beside this directory are tuned."""
