"""Integers in requests: the one place where text from the network becomes a number.

int() alone is not a protocol parser: it raises ValueError above 4,300 digits, and it accepts
signs, underscores, whitespace and the digits of every script.
"""

import re

MAX_INTEGER = (1 << 63) - 1
"""The largest offset a file can have, in bytes; greater values are clamped to it."""

_MAX_DIGITS = 19  # MAX_INTEGER in base 10, which needs more digits than base 16

_DECIMAL = re.compile(r"[0-9]+")
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]+")


def parse_decimal(text: str) -> int | None:
    """Return the value of 1*DIGIT, at most MAX_INTEGER; None for any other text.

    The grammar allows any number of leading zeros (RFC 9110 sections 8.6 and 14.1.1).
    """
    return _clamped(text, 10) if _DECIMAL.fullmatch(text) else None


def parse_hexadecimal(text: str) -> int | None:
    """Return the value of 1*HEXDIG (RFC 9112 section 7.1), clamped like parse_decimal's."""
    return _clamped(text, 16) if _HEXADECIMAL.fullmatch(text) else None


def parse_port(text: str) -> int | None:
    """Return a TCP port number (16 bits); None for any other text."""
    port = parse_decimal(text)
    return port if port is not None and port < 65_536 else None


def _clamped(digits: str, base: int) -> int:
    significant = digits.lstrip("0")
    if len(significant) > _MAX_DIGITS:
        return MAX_INTEGER
    return min(int(significant or "0", base), MAX_INTEGER)
