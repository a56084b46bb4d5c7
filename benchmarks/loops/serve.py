"""aserve on an event loop: `python -m benchmarks.loops.serve LOOP ROOT [aserve's arguments]`.

An experiment, and no option of aserve: each loop has to do what uvloop does, and where one does
not, it is told here and not in the server.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from aserve.cli.main import main
from aserve.server import event_loops, worker

MakeLoop = Callable[[], asyncio.AbstractEventLoop]


class _Completed:
    """What rloop 0.5 and uringcore 0.9 lack of asyncio's interface, for a subclass of their loop.

    add_reader takes no object with a fileno(), and connect_accepted_socket is not implemented.
    create_connection does the same for a socket that is connected, on either side.
    """

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:
        super().add_reader(_descriptor(fd), callback, *args)  # type: ignore[misc]

    def remove_reader(self, fd: Any) -> bool:
        return bool(super().remove_reader(_descriptor(fd)))  # type: ignore[misc]

    async def connect_accepted_socket(self, protocol_factory: Any, sock: Any) -> Any:
        return await self.create_connection(protocol_factory, sock=sock)  # type: ignore[attr-defined]


def _completed(module: str, name: str) -> MakeLoop:
    def make() -> asyncio.AbstractEventLoop:
        loop = type("Loop", (_Completed, getattr(import_module(module), name)), {})()
        assert isinstance(loop, asyncio.AbstractEventLoop)
        return loop

    return make


def _descriptor(file: Any) -> int:
    return file if isinstance(file, int) else int(file.fileno())


LOOPS: Mapping[str, MakeLoop] = {
    "uvloop": event_loops.new_event_loop,
    "asyncio": event_loops.standard_event_loop,
    "rloop": _completed("rloop", "RLoop"),
    "uringcore": _completed("uringcore", "UringEventLoop"),
}


def use(name: str) -> None:
    """Have every worker of this process, and those that it forks, run on a loop of this name."""
    worker.new_event_loop = LOOPS[name]


if __name__ == "__main__":
    use(sys.argv.pop(1))
    main()
