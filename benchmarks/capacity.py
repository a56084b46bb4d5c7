"""`abench capacity` with real servers of known capacity: `python -m benchmarks.capacity [SECONDS]`.

Two servers, each a queue: M/D/1, and M/M/4. They answer when a server of queueing theory would be
done, so their capacity at p99 is known. SECONDS is the length of one search, 105 by default; both
take less than four minutes. Requires a quiet machine: what delays the client or the server counts
as waiting, and makes the answer too low.
"""

import asyncio
import heapq
import json
import random
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from benchmarks.queueing import highest_rate, within_in_m_d_1, within_in_m_m_c

SECONDS = 105.0
_SEED = 1
_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"


@dataclass(frozen=True)
class Known:
    """A queue, and up to which rate 99 % of its responses come within `limit_s`."""

    servers: int
    service: Callable[[], float]
    limit_s: float
    capacity: float


def known_queues() -> dict[str, Known]:
    """Return the queues by name."""
    rng = random.Random(_SEED)
    return {
        "M/D/1": Known(
            1, lambda: 0.002, 0.016, highest_rate(partial(_m_d_1, 0.002, 0.016), top=500)
        ),
        "M/M/4": Known(
            4,
            lambda: rng.expovariate(1 / 0.004),
            0.025,
            highest_rate(partial(_m_m_4, 0.004, 0.025), top=1_000),
        ),
    }


def _m_d_1(service_s: float, limit_s: float, rate: float) -> float:
    return within_in_m_d_1(rate, service_s, limit_s)


def _m_m_4(mean_s: float, limit_s: float, rate: float) -> float:
    return within_in_m_m_c(rate, mean_s, 4, limit_s)


class QueueServer:
    """Answers each request when one of so many servers would have served it."""

    def __init__(self, queue: Known, clock: Callable[[], float]) -> None:
        self._free = [0.0] * queue.servers
        self._service, self._clock = queue.service, clock

    def done_at(self) -> float:
        """Return when the request that arrives now is served, in seconds of the clock."""
        done = max(self._clock(), self._free[0]) + self._service()
        heapq.heapreplace(self._free, done)
        return done


class _Connection(asyncio.Protocol):
    def __init__(self, server: QueueServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server, self._loop = server, loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for _ in range(data.count(b"\r\n\r\n")):
            self._loop.call_at(self._server.done_at(), self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(_RESPONSE)  # type: ignore[attr-defined]


async def _serve(name: str) -> None:
    loop = asyncio.get_running_loop()
    queue = QueueServer(known_queues()[name], loop.time)
    server = await loop.create_server(
        lambda: _Connection(queue, loop), "127.0.0.1", 0, backlog=4096
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def serve(name: str) -> None:
    """Serve a queue on a free port, which is printed, until the process is ended.

    select() waits to the microsecond, epoll_wait() to the millisecond.
    """
    new_loop = partial(asyncio.SelectorEventLoop, selectors.SelectSelector())
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_serve(name))


@contextmanager
def _running(name: str) -> Iterator[str]:
    """Run a queue in a process of its own; yield its URL."""
    command = [sys.executable, "-m", "benchmarks.capacity", "--serve", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{(process.stdout or sys.stdin).readline().strip()}/"
        finally:
            process.terminate()


def measure(name: str, queue: Known, seconds: float) -> str:
    """Search for the capacity of a queue; return the truth, the answer and their ratio."""
    slo = f"p99<{queue.limit_s * 1000:g}ms"
    with _running(name) as url:
        command = [sys.executable, "-m", "abench", "capacity", "--slo", slo, "-w", "1"]
        command += ["-t", f"{seconds:g}", "--json", "-", url]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, timeout=2 * seconds + 60, check=False
        )
    found = json.loads(done.stdout)
    answer, interval = found["capacity_per_sec"], found["interval_per_sec"]
    if answer is None:
        return f"{name}: {found['sentences'][0]}"
    low, high = interval["low"], interval["high"]
    return (
        f"{name} {slo}: truth {queue.capacity:,.0f}/s, answer {answer:,.0f}/s "
        f"({low:,.0f} to {high:,.0f}), ratio {answer / queue.capacity:.3f}"
    )


def main() -> None:
    """Measure all queues, or serve one of them."""
    match sys.argv[1:]:
        case ["--serve", name]:
            serve(name)
        case arguments:
            seconds = float(arguments[0]) if arguments else SECONDS
            lines = [measure(name, queue, seconds) for name, queue in known_queues().items()]
            print("\n", *lines, sep="\n")


if __name__ == "__main__":
    main()
