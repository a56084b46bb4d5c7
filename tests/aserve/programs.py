"""aserve as a program, in a process of its own that is forked and not started."""

from contextlib import ExitStack
from functools import cache

from tests.fork_server import BlockingProgram, ForkServer, fork_server

_at_end = ExitStack()


@cache
def _server() -> ForkServer:
    return _at_end.enter_context(fork_server("aserve", "--port", "none"))


def start(*arguments: object, stdout: int | None = None, **options: object) -> BlockingProgram:
    """Start `aserve`. stdout: its standard output, None for a pipe."""
    program = {"module": "aserve", "arguments": list(map(str, arguments)), **options}
    return _server().start_blocking(program, stdout)


def start_code(code: str, *arguments: object) -> BlockingProgram:
    """Start a program that is this code, in a process that has imported aserve."""
    program = {"code": code, "arguments": list(map(str, arguments))}
    return _server().start_blocking(program)


def close() -> None:
    _at_end.close()
