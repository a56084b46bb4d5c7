"""Serve a directory in an asyncio program, beside its other tasks.

python examples/serve_in_asyncio.py DIR [PORT]
"""

import asyncio
import signal
import sys

import aserve


async def main(directory: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with aserve.Server(directory, port=port) as server:  # port 0: any free one
        print(f"serving {directory} at {server.url}", flush=True)
        await stop.wait()  # here a program does its own work
    # Responses in progress have been completed, within the setting `grace`.


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0))
