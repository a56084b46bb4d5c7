"""The command line. Only this package prints and decides exit codes."""

from aserve.cli.main import main

__all__ = ["main"]
