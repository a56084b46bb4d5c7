"""All settings, validated once, before anything starts."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from aserve.http.media_types import MediaTypes, is_charset, parse_added_type
from aserve.http.request_target import parse_host_port
from aserve.http1.limits import Limits
from aserve.transport.registry import DEFAULT, DISPATCHES, MODELS

DEFAULT_HOST = "localhost"
"""Both loopback addresses, 127.0.0.1 and ::1: browsers may try either of them first."""
DEFAULT_PORT = 8000
THREADS = 8
MAX_THREADS = 512
RESPONSE_CACHE_SIZE = 64 << 20  # bytes
MIN_RESPONSE_CACHE_SIZE = 1 << 20


class SettingsError(ValueError):
    """An invalid setting. `option` is its name on the command line."""

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(f"{option}: {reason}")
        self.option = option


@dataclass(frozen=True, slots=True)
class Settings:
    """What to serve, where, and how. Raises SettingsError for values that cannot work.

    root: the directory to serve.
    host: a name or an address; the server listens on all addresses of the name.
    port: None for 8000 or the next free one, 0 for any free one.
    workers: number of processes.
    threads: size of each worker's thread pool, which does the blocking file work.
    queue: how many more requests may wait for the pool of a worker.
    grace: seconds that responses in progress get when the server stops.
    allow_trace: whether TRACE is answered.
    allow_connect: each "host:port" that CONNECT may open a tunnel to.
    response_cache: bytes of memory for the response cache of each worker, 0 for no cache.
    charset: character encoding of text types, "none" for none.
    types: each "suffix=type" that replaces or adds a media type.
    decode_slashes: whether %2F in a path separates names, as npm's clients expect.
    server_header: whether responses name the software.
    model: the name of an I/O model.
    dispatch: how the reactor hands work to its threads.
    limits: bounds on what clients may send and hold.
    """

    root: Path
    host: str = DEFAULT_HOST
    port: int | None = None
    workers: int = 1
    threads: int = THREADS
    queue: int = 1_024
    grace: float = 8.0
    allow_trace: bool = False
    allow_connect: tuple[str, ...] = ()
    response_cache: int = RESPONSE_CACHE_SIZE
    charset: str = "utf-8"
    types: tuple[str, ...] = ()
    decode_slashes: bool = False
    server_header: bool = True
    model: str = DEFAULT
    dispatch: str = DISPATCHES[0]
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", _check_directory(Path(self.root)))
        _require(self.port is None or 0 <= self.port <= 65535, "--port", "must be from 0 to 65535")
        _require(1 <= self.workers <= 1_024, "--workers", "must be 'auto' or from 1 to 1024")
        _require(bool(self.host), "--host", "must not be empty")
        _require(1 <= self.threads <= MAX_THREADS, "--threads", f"must be from 1 to {MAX_THREADS}")
        size = self.response_cache
        is_valid = size == 0 or size >= MIN_RESPONSE_CACHE_SIZE
        _require(is_valid, "--response-cache", "must be 'off' or at least 1M")
        is_valid = self.dispatch in DISPATCHES
        _require(is_valid, "--dispatch", f"must be one of {', '.join(DISPATCHES)}")
        is_valid = self.model in MODELS
        _require(is_valid, "--model", f"must be one of {', '.join(MODELS)}, not {self.model!r}")
        reason = MODELS[self.model].unavailable_reason()
        _require(not reason, "--model", f"{self.model} is not available: {reason}")
        is_valid = MODELS[self.model].uses_event_loop or not self.allow_connect
        _require(is_valid, "--allow-connect", f"the model {self.model} has no tunnels")
        for address in self.allow_connect:
            is_valid = parse_host_port(address) is not None
            _require(is_valid, "--allow-connect", f"must be HOST:PORT, not {address!r}")
        detail = f"must be the name of a character encoding, or none, not {self.charset!r}"
        _require(is_charset(self.charset), "--charset", detail)
        for added in self.types:
            detail = f"must be SUFFIX=TYPE, as in srt=text/plain, not {added!r}"
            _require(parse_added_type(added) is not None, "--type", detail)

    @property
    def media_types(self) -> MediaTypes:
        """The media type of each file, with the types that were added."""
        added = [parsed for text in self.types if (parsed := parse_added_type(text))]
        return MediaTypes(added, None if self.charset.lower() == "none" else self.charset)


def _check_directory(root: Path) -> Path:
    try:
        _require(root.exists(), "DIR", f"there is no directory {str(root)!r}{_hint(str(root))}")
        _require(root.is_dir(), "DIR", f"{str(root)!r} is not a directory")
        _require(
            os.access(root, os.R_OK | os.X_OK),
            "DIR",
            f"{str(root)!r} cannot be read: permission denied",
        )
        return root.absolute()
    except OSError as error:
        raise SettingsError("DIR", f"{str(root)!r}: {error.strerror}") from error


def _hint(name: str) -> str:
    """Return what was probably meant by a name that is no directory, "" where nothing is known."""
    if name.isdecimal():
        return f"; to choose a port, use --port {name}"
    if name in {"on", "off", "yes", "no", "true", "false"}:
        return "; a flag takes no value"
    return ""


def _require(is_valid: bool, option: str, reason: str) -> None:
    if not is_valid:
        raise SettingsError(option, reason)
