"""Everything that can be set, checked once, before anything is started."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from aserve.http.media_types import MediaTypes, is_charset, parse_added_type
from aserve.http.request_target import parse_host_port
from aserve.http1.limits import Limits
from aserve.transport.registry import DEFAULT, DISPATCHES, MODELS

DEFAULT_HOST = "localhost"
"""Both loopback addresses, 127.0.0.1 and ::1: a browser tries whichever it likes for the name."""
DEFAULT_PORT = 8000
THREADS = 8
MAX_THREADS = 512
RESPONSE_CACHE_SIZE = 64 << 20
MIN_RESPONSE_CACHE_SIZE = 1 << 20


class SettingsError(ValueError):
    """A setting that cannot be: its name as on the command line, and what is wrong with it."""

    def __init__(self, option: str, why: str) -> None:
        super().__init__(f"{option}: {why}")
        self.option = option


@dataclass(frozen=True, slots=True)
class Settings:
    """What to serve, where, and how; raises SettingsError when made of what cannot work.

    root: the folder to serve. port: None for 8000 or the next free one, 0 for any free one.
    workers: processes. threads, queue: per worker, how many requests that need the disk are
    worked on at once, and how many more may wait. grace: seconds that replies under way get
    when the server stops. trace: whether TRACE is on. connect: each "host:port" that CONNECT may
    open a tunnel to. response_cache: bytes of memory
    that each worker's response cache may take, 0 for no cache.
    charset: of text types, "none" for none. types: each "suffix=type" that is sent with another
    type than ours. decode_slashes: whether %2F in a path divides names, as npm's clients want.
    model: the name of an I/O model. dispatch: how the reactor gives work to its threads.
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
    model: str = DEFAULT
    dispatch: str = DISPATCHES[0]
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", _check_directory(Path(self.root)))
        _require(self.port is None or 0 <= self.port <= 65535, "--port", "must be from 0 to 65535")
        _require(1 <= self.workers <= 1_024, "--workers", "must be 'auto' or from 1 to 1024")
        _require(bool(self.host), "--host", "must not be empty")
        _require(1 <= self.threads <= MAX_THREADS, "--threads", f"must be from 1 to {MAX_THREADS}")
        known = not self.response_cache or self.response_cache >= MIN_RESPONSE_CACHE_SIZE
        _require(known, "--response-cache", "must be 'off' or at least 1M")
        known = self.dispatch in DISPATCHES
        _require(known, "--dispatch", f"must be one of {', '.join(DISPATCHES)}")
        known = self.model in MODELS
        _require(known, "--model", f"must be one of {', '.join(MODELS)}, not {self.model!r}")
        why_not = MODELS[self.model].unavailable_reason()
        _require(not why_not, "--model", f"{self.model} cannot be had: {why_not}")
        tunnels = MODELS[self.model].uses_event_loop or not self.allow_connect
        _require(tunnels, "--allow-connect", f"the model {self.model} has no tunnels")
        for place in self.allow_connect:
            known = parse_host_port(place) is not None
            _require(known, "--allow-connect", f"must be HOST:PORT, not {place!r}")
        why = f"must be the name of a character encoding, or none, not {self.charset!r}"
        _require(is_charset(self.charset), "--charset", why)
        for one in self.types:
            why = f"must be SUFFIX=TYPE, as in srt=text/plain, not {one!r}"
            _require(parse_added_type(one) is not None, "--type", why)

    @property
    def media_types(self) -> MediaTypes:
        """What each file is sent as."""
        added = [one for text in self.types if (one := parse_added_type(text))]
        return MediaTypes(added, None if self.charset.lower() == "none" else self.charset)


def _check_directory(root: Path) -> Path:
    try:
        _require(root.exists(), "DIR", f"there is no folder {str(root)!r}{_hint(str(root))}")
        _require(root.is_dir(), "DIR", f"{str(root)!r} is not a folder")
        _require(os.access(root, os.R_OK | os.X_OK), "DIR", f"{str(root)!r} may not be read")
        return root.absolute()
    except OSError as error:
        raise SettingsError("DIR", f"{str(root)!r}: {error.strerror}") from error


def _hint(name: str) -> str:
    """Return what was probably meant by what is no folder."""
    if name.isdecimal():
        return f"; a port is given by --port {name}"
    if name in {"on", "off", "yes", "no", "true", "false"}:
        return "; a flag takes no value: it is there, or it is not"
    return ""


def _require(holds: bool, option: str, why: str) -> None:
    if not holds:
        raise SettingsError(option, why)
