"""The settings of addresses, processes and I/O models: what is wrong with them."""

from typing import TYPE_CHECKING

from aserve.config.checks import Errors, choice_errors, each_value, range_errors
from aserve.config.values import is_unix
from aserve.http.request_target import parse_host_port
from aserve.http1.limits import Limits
from aserve.linux.pacing import LARGEST_SEGMENT, unavailable_reason
from aserve.transport.registry import BY_THE_BOOK, DISPATCHES, MODELS

if TYPE_CHECKING:
    from aserve.config.settings import Settings

DEFAULT_HOST = "localhost"
"""Both loopback addresses, 127.0.0.1 and ::1: browsers may try either of them first."""
ALL_ADDRESSES = "*"
"""A host: all addresses of this machine, of IPv4 and IPv6."""
DEFAULT_PORT = 8000
MAX_THREADS = 512
MAX_WORKERS = 1_024
MAX_GRACE = 86_400  # seconds
RESPONSE_CACHE_SIZE = 64 << 20  # bytes
MIN_RESPONSE_CACHE_SIZE = 1 << 20
MIN_BANDWIDTH = 1 << 12  # bytes per second
MAX_BANDWIDTH = 1 << 30


def model_errors(settings: "Settings") -> Errors:
    """Yield what the I/O model cannot be, and what it cannot do."""
    yield from choice_errors("dispatch", settings.dispatch, DISPATCHES)
    yield from choice_errors("model", settings.model, MODELS)
    if settings.by_the_book and settings.model not in BY_THE_BOOK:
        forms = ", ".join(BY_THE_BOOK)
        yield "by_the_book", f"{settings.model} has one form only; for {forms}"
    model = settings.model_info
    if reason := model.unavailable_reason():
        yield "model", f"{settings.model} is not available: {reason}"
    if model.shares_listeners and settings.workers == 1:
        yield "workers", f"the model {settings.model} needs at least 2"
    if settings.allow_connect and not model.uses_event_loop:
        yield "allow_connect", f"{settings.described_model} has no tunnels"
    if settings.live and not model.uses_event_loop:
        yield "live", f"{settings.described_model} has no live reload"
    if settings.live and settings.workers != 1:
        yield "live", f"needs one worker, not {settings.workers}"


def process_errors(settings: "Settings") -> Errors:
    """Yield what is wrong with addresses, and with how many of something there are."""
    if not settings.host:
        yield "host", "must not be empty"
    elif is_unix(settings.host):
        yield from _unix_errors(settings)
    for item, address in each_value(settings, "allow_connect"):
        if parse_host_port(address) is None:
            yield item, f"must be HOST:PORT, not {address!r}"
    yield from range_errors("port", settings.port or 0, 0, 65_535)
    yield from range_errors("workers", settings.workers, 1, MAX_WORKERS)
    least = min(1, settings.model_info.default_threads)
    yield from range_errors("threads", settings.threads or 0, least, MAX_THREADS)
    yield from range_errors("grace", settings.grace, 0, MAX_GRACE)
    if settings.queue < 0:
        yield "queue", "must be at least 0"
    if settings.response_cache and settings.response_cache < MIN_RESPONSE_CACHE_SIZE:
        yield "response_cache", "must be 0, for no cache, or at least 1M (1,048,576)"
    if settings.bandwidth:
        yield from _bandwidth_errors(settings.bandwidth, settings.limits)


def _unix_errors(settings: "Settings") -> Errors:
    """Yield what is wrong with a host that is a Unix socket."""
    from aserve.config.unix_address import group_id, parse_unix_address  # noqa: PLC0415 - or unused

    try:
        address = parse_unix_address(settings.host)
        if address.group:
            group_id(address.group)
    except ValueError as error:
        yield "host", str(error)
    for setting in ("port", "http_redirect"):
        if getattr(settings, setting):
            yield setting, "is for addresses: a Unix socket has no ports"
    if settings.bandwidth:
        yield "bandwidth", "is for addresses: to a Unix socket everything is sent at once"


def _bandwidth_errors(bandwidth: int, limits: Limits) -> Errors:
    """Yield what is wrong with a bandwidth: no client is cut off as slow because the server is."""
    yield from range_errors("bandwidth", bandwidth, MIN_BANDWIDTH, MAX_BANDWIDTH)
    time, least = limits.transfer_timeout, limits.min_rate
    # Bytes leave this process in steps: a queue of a second is filled, and one more segment.
    if least and bandwidth * (time - 1) < least * time + LARGEST_SEGMENT:
        reason = f"transfer-timeout ({time}) and min-rate ({least}) would cut responses off"
        yield "bandwidth", f"is so low that the limits {reason}"
    if reason := unavailable_reason():
        yield "bandwidth", f"cannot be limited on this system: {reason}"
