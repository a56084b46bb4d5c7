"""Numbers and sizes as they are written on the command line."""

from aserve.config.settings import SettingsError
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
    if text == "off":
        return 0
    number, unit = (text[:-1], text[-1]) if text[-1:] in _SIZE_UNITS else (text, "")
    if not _is_number(number):
        raise SettingsError(
            "--response-cache", f"must be a size such as 64M, or 'off', not {text!r}"
        )
    return int(number) * _SIZE_UNITS.get(unit, 1)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
