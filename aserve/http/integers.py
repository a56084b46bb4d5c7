"""Integers that clients write: the one place where text from the network becomes a number.

int() alone is no parser for a protocol: it raises ValueError above 4,300 digits, and takes signs,
underscores, blanks and the digits of every script.
"""

import re

MAX_INTEGER = (1 << 63) - 1
"""The greatest offset that a file can have; whatever is greater reads as this."""

_MAX_DIGITS = 19  # of MAX_INTEGER in base 10, which has more of them than base 16

_DECIMAL = re.compile(r"[0-9]+")
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]+")


def parse_decimal(text: str) -> int | None:
    """Return the value of 1*DIGIT, MAX_INTEGER where it is greater; None for anything else.

    Leading zeros are part of the grammar and have no end (RFC 9110 sections 8.6 and 14.1.1).
    """
    return _bounded(text, 10) if _DECIMAL.fullmatch(text) else None


def parse_hexadecimal(text: str) -> int | None:
    """Return the value of 1*HEXDIG (RFC 9112 section 7.1), bounded as parse_decimal's is."""
    return _bounded(text, 16) if _HEXADECIMAL.fullmatch(text) else None


def parse_port(text: str) -> int | None:
    """Return the number of a TCP port, which has 16 bits; None where text is no such number."""
    port = parse_decimal(text)
    return port if port is not None and port < 65_536 else None


def _bounded(digits: str, base: int) -> int:
    significant = digits.lstrip("0")
    if len(significant) > _MAX_DIGITS:
        return MAX_INTEGER
    return min(int(significant or "0", base), MAX_INTEGER)
