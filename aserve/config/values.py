"""Numbers, sizes and lists as they are written, whatever they are written in.

What is wrong with a text is a ValueError, whose message goes behind the name of what was set.
"""

from aserve.config.cpus import available_cpus
from aserve.http1.limits import UNLIMITED

_MAX_DIGITS = 9
_OFF, _OUTPUT = "use 'off'", "use '-' for standard output"
_NO_LOG_FILES = {
    **dict.fromkeys(("off", "none", "no", "false", "null", "disable", "disabled"), _OFF),
    **dict.fromkeys(("on", "yes", "true", "stdout"), _OUTPUT),
    "stderr": "use /dev/stderr for standard error",
}
"""Words that are hardly meant as names of a log, and what to use instead."""
_SIZE_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

UNIX_PREFIX = "unix:"


def is_unix(host: str) -> bool:
    """Tell whether a host is a Unix socket, which aserve/config/unix_address.py parses."""
    return host.startswith(UNIX_PREFIX)


def parse_number(text: str) -> int:
    """Return a whole number."""
    if not _is_number(text.removeprefix("-")):
        raise ValueError(f"must be a whole number, not {text!r}")
    return int(text)


def parse_text(text: str) -> str:
    """Return a text that is not empty."""
    if not text:
        raise ValueError("must not be empty")
    return text


def parse_log(text: str) -> str:
    """Return where the access log goes: a file, `-`, or `off`."""
    if not text:
        raise ValueError("must not be empty; use 'off' for no log")
    hint = _NO_LOG_FILES.get(text.strip().lower())
    if hint and text != "off":
        raise ValueError(f"{hint}; for a file of this name use './{text}'")
    return text


def parse_names(text: str) -> tuple[str, ...]:
    """Return the names in a list with commas, without the spaces around them."""
    return tuple(name.strip() for name in text.split(","))


def parse_workers(text: str) -> int:
    """Return the number of processes for `N` or `auto`."""
    if text == "auto":
        return available_cpus()
    if not _is_number(text):
        raise ValueError(f"must be 'auto' or at least 1, not {text!r}")
    return int(text)


def parse_size(text: str) -> int:
    """Return the bytes of `64M` or the like, 0 for `off`."""
    size = 0 if text == "off" else _parse_units(text)
    if size is None:
        raise ValueError(f"must be a size such as 64M, or 'off', not {text!r}")
    return size


def parse_rate_text(text: str) -> str:
    """Return a rate such as `100/s`, "" for `off`."""
    if text == "off":
        return ""
    from aserve.access.rates import parse_rate  # noqa: PLC0415 - not needed without a rate

    parse_rate(text)
    return text


def parse_maximum(text: str) -> int:
    """Return a number, which may end in K, M or G, UNLIMITED for `unlimited`."""
    number = UNLIMITED if text == "unlimited" else _parse_units(text)
    if number is None:
        raise ValueError(f"must be a number such as 500 or 20G, or 'unlimited', not {text!r}")
    return number


def parse_bytes(text: str) -> int:
    """Return the bytes of `64M` or the like."""
    size = _parse_units(text)
    if size is None:
        raise ValueError(f"must be a size such as 256M, or 0, not {text!r}")
    return size


def parse_formats(text: str) -> tuple[str, ...]:
    """Return the formats in a list with commas, none for `off`."""
    return () if text == "off" else tuple(text.split(","))


def format_size(size: int) -> int | str:
    """Return a size as it is written: the number, or with the largest unit that it has."""
    if size == UNLIMITED:
        return "unlimited"
    for unit, factor in reversed(_SIZE_UNITS.items()):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return size


def _parse_units(text: str) -> int | None:
    number, unit = (text[:-1], text[-1]) if text[-1:] in _SIZE_UNITS else (text, "")
    return int(number) * _SIZE_UNITS.get(unit, 1) if _is_number(number) else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
