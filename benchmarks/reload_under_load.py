"""Reloads, upgrades and killed workers under full load: what is lost, cut or stale.

    python -m benchmarks.reload_under_load --seconds 60
    python -m benchmarks.reload_under_load --seconds 60 --server nginx

Clients keep connections, others open one for each request, and one downloads 1 GB again and again.
Each generation of the configuration serves another folder, whose file says its number. Some of them
are on another port, to which clients connect from the moment on when the reload has returned.

- failed: no whole response came to a request, or none with status 200. A connection that was closed
  as its last response had announced is none.
- cut: a download that ended early.
- stale: a response of a generation older than that whose reload had returned before the request
  was sent.
- held: what would have failed or been cut, on a connection that a worker had when it was killed.
  The worker is stopped first, so that what it has can be listed; then it is killed.
"""

import argparse
import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from weakref import WeakKeyDictionary

import uvloop

from aserve.server.control_socket import RunningServer, request_reload

_KEPT, _SINGLE = 16, 8  # clients of either kind
_LARGE = 1 << 30
_READ_SIZE = 1 << 20
_RELOADS, _UPGRADES, _KILLS, _MOVES = 20, 3, 3, 3
_START_TIMEOUT_S = 60


@dataclass
class Counts:
    """What has become of all requests."""

    responses: int = 0
    downloads: int = 0
    failed: int = 0
    cut: int = 0
    stale: int = 0
    held: int = 0
    reloads: int = 0
    upgrades: int = 0
    kills: int = 0
    moves: int = 0
    reasons: list[str] = field(default_factory=list)

    def report(self) -> str:
        """Return one line."""
        names = ("responses", "downloads", "failed", "cut", "stale", "held")
        done = f"{self.reloads} reloads, {self.moves} to another port, {self.upgrades} upgrades, "
        done += f"{self.kills} kills: "
        return done + ", ".join(f"{getattr(self, name)} {name}" for name in names)


class LostError(Exception):
    """A request without a whole response."""


class Server(Protocol):
    """A server that is reloaded."""

    port: int
    can_upgrade: bool

    def move(self) -> None:
        """Have the next reload serve on another port."""

    def reload(self, generation: int) -> None:
        """Serve another generation; return once every next request gets it."""

    def upgrade(self) -> None:
        """Begin to start the program anew, in place."""

    def workers(self) -> list[int]:
        """Return the process ids of the workers that accept."""


class Load:
    """Clients of one server, until they are told to end."""

    def __init__(self, server: Server, counts: Counts) -> None:
        self._server = server
        self._counts = counts
        self._is_over = False
        self._killed_ports: set[int] = set()
        self._ports: WeakKeyDictionary[asyncio.StreamWriter, int] = WeakKeyDictionary()
        self.generation = 0
        """The generation of the last reload that has returned."""

    def end(self) -> None:
        """Let each client end with its response."""
        self._is_over = True

    def forgive(self, ports: set[int]) -> None:
        """Count what fails on the connections of a killed worker as held."""
        self._killed_ports |= ports

    async def keep(self) -> None:
        """Send requests on one connection after the other, each kept as long as the server does."""
        while not self._is_over:
            with suppress(LostError):
                await self._use_connection(keeps=True)

    async def reconnect(self) -> None:
        """Open a connection for each request."""
        while not self._is_over:
            with suppress(LostError):
                await self._use_connection(keeps=False)

    async def download(self) -> None:
        """Read the large file, not too fast: each download lives through several reloads."""
        while not self._is_over:
            try:
                reader, writer = await self._connect()
            except LostError:
                continue
            received = 0
            try:
                writer.write(b"GET /large.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                await reader.readuntil(b"\r\n\r\n")
                while data := await reader.read(_READ_SIZE):
                    received += len(data)
                    if not self._is_over:
                        await asyncio.sleep(0.01)
            except (OSError, asyncio.IncompleteReadError):
                pass
            if received == _LARGE:
                self._counts.downloads += 1
            else:
                self._count_loss(writer, f"a download ended after {received} bytes", cut=True)
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        except OSError as error:
            self._counts.failed += 1
            self._counts.reasons.append(f"connect: {error}")
            await asyncio.sleep(0.01)
            raise LostError from error
        self._ports[writer] = writer.get_extra_info("sockname")[1]
        return reader, writer

    async def _use_connection(self, *, keeps: bool) -> None:
        reader, writer = await self._connect()
        try:
            while await self._request(reader, writer, keeps=keeps) and not self._is_over:
                pass
        except (OSError, asyncio.IncompleteReadError, LostError) as error:
            self._count_loss(writer, f"{type(error).__name__} {error}")
        finally:
            writer.transport.abort()

    async def _request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, keeps: bool
    ) -> bool:
        """Send a request; return whether the connection stays open."""
        expected = self.generation
        ending = b"" if keeps else b"Connection: close\r\n"
        writer.write(b"GET /generation.txt HTTP/1.1\r\nHost: x\r\n" + ending + b"\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
        body = await reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200"):
            raise LostError(head.partition(b"\r\n")[0].decode())
        self._counts.responses += 1
        if int(body) < expected:
            self._counts.stale += 1
            self._counts.reasons.append(f"generation {int(body)} after {expected}")
        return keeps and b"connection: close" not in head.lower()

    def _count_loss(self, writer: asyncio.StreamWriter, reason: str, *, cut: bool = False) -> None:
        if self._ports.pop(writer, 0) in self._killed_ports:
            self._counts.held += 1
            return
        self._counts.reasons.append(reason)
        if cut:
            self._counts.cut += 1
        else:
            self._counts.failed += 1


def client_ports_of(pid: int) -> set[int]:
    """Return the ports of the clients whose connections a process has, also to a former port."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if found := re.fullmatch(r"socket:\[(\d+)\]", str(entry.readlink())):
                inodes.add(found[1])
    ports = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        remote, inode = fields[2], fields[9]
        if inode in inodes:
            ports.add(int(remote.rpartition(":")[2], 16))
    return ports


def kill_worker(server: Server, load: Load) -> None:
    """Kill a worker; what it has is what may be lost."""
    pid = server.workers()[0]
    os.kill(pid, signal.SIGSTOP)
    load.forgive(client_ports_of(pid))
    os.kill(pid, signal.SIGKILL)


async def run_load(server: Server, seconds: float, *, kills: int = _KILLS) -> Counts:
    """Load a server while it is reloaded, upgraded and has workers killed; return what was lost."""
    counts = Counts()
    load = Load(server, counts)
    async with asyncio.TaskGroup() as clients:
        for _ in range(_KEPT):
            clients.create_task(load.keep())
        for _ in range(_SINGLE):
            clients.create_task(load.reconnect())
        clients.create_task(load.download())
        try:
            await _disturb(server, load, counts, seconds, kills)
        finally:
            load.end()
    return counts


async def _disturb(server: Server, load: Load, counts: Counts, seconds: float, kills: int) -> None:
    upgrades = _UPGRADES if server.can_upgrade else 0
    for number in range(1, _RELOADS + 1):
        await asyncio.sleep(seconds / _RELOADS)
        if _is_due(number + 4, _MOVES):
            server.move()
            counts.moves += 1
        await asyncio.to_thread(server.reload, number)
        load.generation, counts.reloads = number, number
        if _is_due(number, upgrades):
            await asyncio.to_thread(server.upgrade)
            counts.upgrades += 1
        elif kills and _is_due(number + 3, kills):
            await asyncio.to_thread(kill_worker, server, load)
            counts.kills += 1
    await asyncio.sleep(seconds / _RELOADS)


def _is_due(number: int, times: int) -> bool:
    """Return whether something that is done so many times among the reloads is due after one."""
    return bool(times) and number % (_RELOADS // times) == _RELOADS // times // 2


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def make_site(directory: Path) -> None:
    """Make the folders of all generations."""
    large = directory / "large.bin"
    with large.open("wb") as file:
        file.truncate(_LARGE)
    for number in range(_RELOADS + 1):
        folder = directory / f"generation-{number}"
        folder.mkdir()
        (folder / "generation.txt").write_text(f"{number}\n")
        (folder / "large.bin").hardlink_to(large)


class Aserve:
    """aserve, as a program with a configuration file."""

    can_upgrade = True

    def __init__(self, directory: Path, *options: str) -> None:
        self._directory = directory
        self.port = self._next_port = free_port()
        self._write_config(0)
        command = [sys.executable, "-m", "aserve", "--host=127.0.0.1", *options]
        self._process = subprocess.Popen(command, cwd=directory, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr
        while "http://" not in self._process.stderr.readline():
            pass

    @property
    def pid(self) -> int:
        """The process id of the program."""
        return self._process.pid

    def move(self) -> None:
        """Have the next reload serve on another port."""
        self._next_port = free_port()

    def reload(self, generation: int) -> None:
        """Serve another generation.

        Asked as `aserve reload` asks, without its process: the former port is accepted on for two
        seconds, in which that would have to end.
        """
        self._write_config(generation)
        if reason := request_reload(RunningServer(self.pid, self.port)):
            raise RuntimeError(reason)
        self.port = self._next_port

    def upgrade(self) -> None:
        """Have the program start anew."""
        self._process.send_signal(signal.SIGUSR2)

    def workers(self) -> list[int]:
        """Return the workers."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return sorted(map(int, children.split()), reverse=True)

    def stop(self) -> tuple[int, str]:
        """Stop it; return its exit code and what it has printed."""
        self._process.terminate()
        _, errors = self._process.communicate(timeout=_START_TIMEOUT_S)
        return self._process.returncode, errors

    def _write_config(self, generation: int) -> None:
        new = self._directory / "aserve.toml.new"
        new.write_text(f'root = "generation-{generation}"\nport = {self._next_port}\n')
        new.replace(self._directory / "aserve.toml")


class Nginx:
    """nginx, whose reload is a signal, and returns before it is done."""

    can_upgrade = False

    def __init__(self, directory: Path, port: int, workers: int) -> None:
        self._directory, self._worker_count = directory, workers
        self.port = self._next_port = port
        self._write_config(0)
        self._process = subprocess.Popen(
            ["nginx", "-p", str(directory), "-c", str(directory / "nginx.conf")],
            stderr=subprocess.DEVNULL,
        )
        while True:
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break

    def move(self) -> None:
        """Have the next reload serve on another port."""
        self._next_port = free_port()

    def reload(self, generation: int) -> None:
        """Serve another generation, once its workers are there."""
        before = set(self.workers())
        self._write_config(generation)
        self._process.send_signal(signal.SIGHUP)
        while len(set(self.workers()) - before) < self._worker_count:
            pass
        self.port = self._next_port

    def upgrade(self) -> None:
        """Do nothing."""

    def workers(self) -> list[int]:
        """Return its workers, the newest first."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return sorted(map(int, children.split()), reverse=True)

    def stop(self) -> tuple[int, str]:
        """Stop it."""
        self._process.terminate()
        return self._process.wait(_START_TIMEOUT_S), ""

    def _write_config(self, generation: int) -> None:
        root = self._directory / f"generation-{generation}"
        (self._directory / "nginx.conf").write_text(
            f"""
            daemon off; worker_processes {self._worker_count}; pid nginx.pid; error_log stderr;
            events {{ worker_connections 1024; }}
            http {{
                access_log off; sendfile on; keepalive_requests 1000000000;
                server {{ listen 127.0.0.1:{self._next_port}; root {root}; }}
            }}
            """
        )


@contextmanager
def site() -> Iterator[Path]:
    """Make a directory with all generations until the block ends."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # for the workers of nginx, which are of another user
        make_site(Path(name))
        yield Path(name)


def main() -> None:
    """Print what was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--server", choices=("aserve", "nginx"), default="aserve")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--port", type=int, default=8099, help="of nginx")
    options, more = parser.parse_known_args()
    with site() as directory:
        server: Aserve | Nginx
        if options.server == "nginx":
            server = Nginx(directory, options.port, options.workers)
        else:
            server = Aserve(directory, f"--workers={options.workers}", *more)
        try:
            kills = _KILLS if options.workers > 1 else 0
            counts = uvloop.run(run_load(server, options.seconds, kills=kills))
        finally:
            code, errors = server.stop()
    print(options.server, counts.report())
    for reason in sorted(set(counts.reasons))[:10]:
        print(f"  {counts.reasons.count(reason)} x {reason}")
    print(f"  exit code {code}", *errors.splitlines()[-10:], sep="\n  ")


if __name__ == "__main__":
    main()
