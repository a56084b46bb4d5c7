"""The works that measure load generators: abench beside others, with the same server."""

from benchmarks.figures import Goal
from benchmarks.kinds import Loaders
from benchmarks.loads import Ask
from benchmarks.work import Work

LOADERS = ("abench", "wrk", "ab", "h2load", "hey")
_LIKE_WRK = Goal(1.00, ("wrk",), "client_us", of="abench")
_ALONE = (
    "These rows measure the load generators, one thread or process on a core of its own. Processor "
    "time and memory are taken in the middle of a load, without its start and end. abench's memory "
    "is that of its worker and of its parent process; pages that they share count twice."
)


def _loaders(name: str, title: str, server: str, ask: Ask, *goals: Goal) -> Work:
    tools = tuple(tool for tool in LOADERS if not (ask.closing and tool == "h2load"))
    return Work(name, title, Loaders(server, ask), tools, goals, peer="wrk", note=_ALONE)


def _keeps_up(times: float, *tools: str) -> Goal:
    return Goal(times, tools, "rate", of="abench")


ROWS = (
    _loaders(
        "load-nginx-64",
        "load generators: nginx, 64 connections",
        "nginx",
        Ask(64),
        _LIKE_WRK,
        _keeps_up(1.00, "wrk", "ab", "h2load"),
    ),
    _loaders(
        "load-nginx-1000",
        "load generators: nginx, 1,000 connections",
        "nginx",
        Ask(1_000),
        _LIKE_WRK,
        _keeps_up(1.00, "wrk", "ab", "h2load"),
    ),
    _loaders(
        "load-null-64",
        "load generators: a null server, 64 connections",
        "floor",
        Ask(64),
        _LIKE_WRK,
        _keeps_up(1.05, "wrk", "ab", "h2load"),
    ),
    _loaders(
        "load-null-1000",
        "load generators: a null server, 1,000 connections",
        "floor",
        Ask(1_000),
        _LIKE_WRK,
        _keeps_up(1.05, "wrk", "ab", "h2load"),
    ),
    _loaders(
        "load-closing",
        "load generators: nginx, a connection for each request",
        "nginx",
        Ask(64, closing=True),
        _keeps_up(1.00, "ab"),
    ),
    _loaders(
        "tls-load-64",
        "load generators: nginx over TLS, 64 connections",
        "nginx tls",
        Ask(64, scheme="https"),
        _LIKE_WRK,
        _keeps_up(1.00, "wrk", "ab", "h2load"),
    ),
    _loaders(
        "tls-load-closing",
        "load generators: nginx, a TLS connection for each request",
        "nginx tls",
        Ask(64, closing=True, scheme="https"),
        _keeps_up(1.00, "ab"),
    ),
    _loaders(
        "load-10000",
        "load generators: a null server, 10,000 connections",
        "floor",
        Ask(10_000),
    ),
)
