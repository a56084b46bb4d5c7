"""Fuzzing: generated and mutated byte streams, compared with a second parser (h11)."""
