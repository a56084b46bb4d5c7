"""The command line: options, output of reports, and exit codes."""

from abench.cli.main import main

__all__ = ["main"]
