"""Responses that were given before, and what they depend on."""
