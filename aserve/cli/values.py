"""Numbers and sizes as they are written on the command line."""

from aserve.config.settings import SettingsError
from aserve.http1.limits import UNLIMITED
from aserve.server.cpus import available_cpus

_MAX_DIGITS = 9
_SIZE_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse_number(option: str, text: str) -> int:
    """Return a whole number; raises SettingsError."""
    if not _is_number(text.removeprefix("-")):
        raise SettingsError(option, f"must be a whole number, not {text!r}")
    return int(text)


def parse_text(option: str, text: str) -> str:
    """Return a text that is not empty; raises SettingsError."""
    if not text:
        raise SettingsError(option, "must not be empty")
    return text


def parse_names(text: str) -> tuple[str, ...]:
    """Return the names in a list with commas, without the spaces around them."""
    return tuple(name.strip() for name in text.split(","))


def parse_workers(text: str) -> int:
    """Return the number of processes for `N` or `auto`; raises SettingsError."""
    if text == "auto":
        return available_cpus()
    if not _is_number(text):
        raise SettingsError("--workers", f"must be 'auto' or at least 1, not {text!r}")
    return int(text)


def parse_size(text: str) -> int:
    """Return the bytes of `64M` or the like, 0 for `off`; raises SettingsError."""
    size = 0 if text == "off" else _parse_units(text)
    if size is None:
        raise SettingsError(
            "--response-cache", f"must be a size such as 64M, or 'off', not {text!r}"
        )
    return size


def parse_maximum(option: str, text: str) -> int:
    """Return a number, which may end in K, M or G, UNLIMITED for `unlimited`."""
    number = UNLIMITED if text == "unlimited" else _parse_units(text)
    if number is None:
        raise SettingsError(
            option, f"must be a number such as 500 or 20G, or 'unlimited', not {text!r}"
        )
    return number


def parse_bytes(option: str, text: str) -> int:
    """Return the bytes of `64M` or the like; raises SettingsError."""
    size = _parse_units(text)
    if size is None:
        raise SettingsError(option, f"must be a size such as 256M, or 0, not {text!r}")
    return size


def parse_formats(text: str) -> tuple[str, ...]:
    """Return the formats in a list with commas, none for `off`."""
    return () if text == "off" else tuple(text.split(","))


def _parse_units(text: str) -> int | None:
    number, unit = (text[:-1], text[-1]) if text[-1:] in _SIZE_UNITS else (text, "")
    return int(number) * _SIZE_UNITS.get(unit, 1) if _is_number(number) else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
