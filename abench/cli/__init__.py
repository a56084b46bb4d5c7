"""The command line: options in, a report out, and an exit code that says how it went."""

from abench.cli.main import main

__all__ = ["main"]
