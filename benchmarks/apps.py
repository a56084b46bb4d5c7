"""The Python servers: their own way to serve static files, and nothing else.

python -m benchmarks.apps starlette|aiohttp ROOT PORT
"""

import sys
from collections.abc import Awaitable, Callable
from typing import Any

HOST, BACKLOG = "127.0.0.1", 4_096


async def nothing(_scope: Any, _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    """Answer 404: what granian asks for when no file is there."""
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body"})


def starlette(root: str, port: int) -> None:
    """Serve with Starlette's StaticFiles on uvicorn, at its fastest."""
    import uvicorn  # noqa: PLC0415 - each server may be missing
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.staticfiles import StaticFiles  # noqa: PLC0415

    app = Starlette()
    app.mount("/", StaticFiles(directory=root))
    uvicorn.run(
        app,
        host=HOST,
        port=port,
        backlog=BACKLOG,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="error",
    )


def aiohttp(root: str, port: int) -> None:
    """Serve with aiohttp's static route, on uvloop like the others."""
    import uvloop  # noqa: PLC0415
    from aiohttp import web  # noqa: PLC0415

    app = web.Application()
    app.router.add_static("/", root)
    web.run_app(
        app,
        host=HOST,
        port=port,
        backlog=BACKLOG,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )


PEERS = {"starlette": starlette, "aiohttp": aiohttp}

if __name__ == "__main__":
    peer, directory, number = sys.argv[1:]
    PEERS[peer](directory, int(number))
