"""The command line: the only place that prints, and where exit codes come from."""

from aserve.cli.main import main

__all__ = ["main"]
