"""All settings, validated once, before anything starts."""

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from aserve.arguments import checks_names, wrong_types
from aserve.http.media_types import MediaTypes, is_charset, parse_added_type
from aserve.http.request_target import parse_host_port
from aserve.http1.limits import Limits
from aserve.transport.registry import (
    BY_THE_BOOK,
    DEFAULT,
    DISPATCHES,
    MODELS,
    ModelInfo,
    find_model,
)

DEFAULT_HOST = "localhost"
"""Both loopback addresses, 127.0.0.1 and ::1: browsers may try either of them first."""
DEFAULT_PORT = 8000
THREADS = 8
MAX_THREADS = 512
MAX_WORKERS = 1_024
MAX_GRACE = 86_400
RESPONSE_CACHE_SIZE = 64 << 20  # bytes
MIN_RESPONSE_CACHE_SIZE = 1 << 20


class SettingsError(ValueError):
    """A setting that cannot work. `setting` is its name, `reason` what is wrong with it."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(f"{setting}: {reason}")
        self.setting = setting
        self.reason = reason


@checks_names("setting")
@dataclass(frozen=True, slots=True)
class Settings:
    """What to serve, where, and how.

    Raises SettingsError for a value that cannot work, and TypeError for a name that is no setting.
    """

    root: Path
    """The directory to serve."""
    host: str = DEFAULT_HOST
    """A name or an address; the server listens on all addresses of the name."""
    port: int | None = None
    """None for 8000 or the next free one, 0 for any free one."""
    workers: int = 1
    """How many processes serve."""
    threads: int = THREADS
    """The size of each worker's thread pool, which does the blocking file work."""
    queue: int = 1_024
    """How many more requests may wait for the pool; the next one gets 503."""
    grace: float = 8.0
    """What responses in progress get when the server stops."""
    allow_trace: bool = False
    """Whether TRACE is answered."""
    allow_connect: tuple[str, ...] = ()
    """Each "host:port" that CONNECT may open a tunnel to."""
    response_cache: int = RESPONSE_CACHE_SIZE
    """Memory for cached responses, 0 for no cache."""
    charset: str = "utf-8"
    """The character encoding of text types, "none" for none."""
    types: tuple[str, ...] = ()
    """Each "suffix=type" that replaces or adds a media type."""
    decode_slashes: bool = False
    """Whether %2F in a path separates names, as npm's clients expect."""
    server_header: bool = True
    """Whether responses name the software."""
    model: str = DEFAULT
    """The name of an I/O model."""
    by_the_book: bool = False
    """Whether the model takes each step as textbooks number them."""
    dispatch: str = DISPATCHES[0]
    """How the reactor gives jobs to its threads: queue, round-robin, random or least-loaded."""
    limits: Limits = field(default_factory=Limits)
    """Limits on what clients may send and hold."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", as_path(self.root))
        for name, reason in wrong_types(self):
            raise SettingsError(name, reason)
        object.__setattr__(self, "root", _check_directory(self.root))
        self._check_ranges()
        self._check_names()
        self._check_model()

    def _check_ranges(self) -> None:
        _check_range("port", self.port or 0, 0, 65_535)
        _check_range("workers", self.workers, 1, MAX_WORKERS)
        _check_range("threads", self.threads, 1, MAX_THREADS)
        _check_range("grace", self.grace, 0, MAX_GRACE)
        _require(self.queue >= 0, "queue", "must be at least 0")
        size = self.response_cache
        is_valid = size == 0 or size >= MIN_RESPONSE_CACHE_SIZE
        _require(is_valid, "response_cache", "must be 0, for no cache, or at least 1M (1,048,576)")

    def _check_names(self) -> None:
        _require(bool(self.host), "host", "must not be empty")
        detail = f"must be the name of a character encoding, or none, not {self.charset!r}"
        _require(is_charset(self.charset), "charset", detail)
        for address in self.allow_connect:
            is_valid = parse_host_port(address) is not None
            _require(is_valid, "allow_connect", f"must be HOST:PORT, not {address!r}")
        for added in self.types:
            detail = f"must be SUFFIX=TYPE, as in srt=text/plain, not {added!r}"
            _require(parse_added_type(added) is not None, "types", detail)

    def _check_model(self) -> None:
        _check_choice("dispatch", self.dispatch, DISPATCHES)
        _check_choice("model", self.model, MODELS)
        is_valid = self.model in BY_THE_BOOK or not self.by_the_book
        detail = f"{self.model} has one form only; for {', '.join(BY_THE_BOOK)}"
        _require(is_valid, "by_the_book", detail)
        reason = self.model_info.unavailable_reason()
        _require(not reason, "model", f"{self.model} is not available: {reason}")
        is_valid = self.model_info.uses_event_loop or not self.allow_connect
        _require(is_valid, "allow_connect", f"the model {self.model} has no tunnels")

    @property
    def model_info(self) -> ModelInfo:
        """The I/O model."""
        return find_model(self.model, by_the_book=self.by_the_book)

    @property
    def media_types(self) -> MediaTypes:
        """The media type of each file, with the types that were added."""
        added = [parsed for text in self.types if (parsed := parse_added_type(text))]
        return MediaTypes(added, None if self.charset.lower() == "none" else self.charset)


class ServerSettings(TypedDict, total=False):
    """The settings of a server inside a program, as keyword arguments. Settings explains them."""

    host: str
    threads: int
    queue: int
    grace: float
    allow_trace: bool
    allow_connect: tuple[str, ...]
    response_cache: int
    charset: str
    types: tuple[str, ...]
    decode_slashes: bool
    server_header: bool
    model: str
    by_the_book: bool
    dispatch: str
    limits: Limits


def as_path(root: object) -> Path:
    """Return the path that a program has passed as the root; raises SettingsError."""
    try:
        return Path(root)  # type: ignore[arg-type]
    except TypeError:
        raise SettingsError("root", f"must be the path of a directory, not {root!r}") from None


def _check_directory(root: Path) -> Path:
    try:
        _require(root.exists(), "root", f"there is no directory {str(root)!r}")
        _require(root.is_dir(), "root", f"{str(root)!r} is not a directory")
        _require(
            os.access(root, os.R_OK | os.X_OK),
            "root",
            f"{str(root)!r} cannot be read: permission denied",
        )
        return root.absolute()
    except OSError as error:
        raise SettingsError("root", f"{str(root)!r}: {error.strerror}") from error


def _check_range(setting: str, value: float, least: int, most: int) -> None:
    _require(least <= value <= most, setting, f"must be from {least} to {most}")


def _check_choice(setting: str, value: str, choices: Collection[str]) -> None:
    _require(value in choices, setting, f"must be one of {', '.join(choices)}, not {value!r}")


def _require(is_valid: bool, setting: str, reason: str) -> None:
    if not is_valid:
        raise SettingsError(setting, reason)
