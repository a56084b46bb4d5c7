"""Numbers formatted for people."""

from collections.abc import Sequence

_MAX_LISTED = 8
_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def count(number: int) -> str:
    """Return a whole number with thousands separators."""
    return f"{number:,}"


def decimal(number: float) -> str:
    """Return a rate: whole from 100 up, two decimals below, two significant digits below 0.1."""
    if 0 < number < 0.0995:
        return significant(float(f"{number:.2g}"))
    return f"{number:,.0f}" if number >= 99.995 else f"{number:.2f}"


def plural(number: int, noun: str) -> str:
    """Return `1 worker`, `2 workers`."""
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"


def percents(shares: Sequence[float]) -> str:
    """Return shares in percent: `12, 15`, or of more than eight their range, `12 to 15`."""
    if len(shares) > _MAX_LISTED:
        return f"{100 * min(shares):.0f} to {100 * max(shares):.0f}"
    return ", ".join(f"{100 * share:.0f}" for share in shares)


def byte_size(number: float) -> str:
    """Return a number of bytes in decimal units (1 kB is 1000 B), as network rates are given."""
    power = 0
    while number >= 999.5 and power < len(_BYTE_UNITS) - 1:
        number /= 1000
        power += 1
    return f"{_significant(number) if power else f'{number:.0f}'} {_BYTE_UNITS[power]}"


def microseconds(value: float | None) -> str:
    """Format a time in microseconds with three digits: `812 us`, `1.23 ms`, `2.05 s`."""
    if value is None:
        return "-"
    if value < 999.5:
        return f"{value:.0f} us"
    if value < 999_500:
        return f"{_significant(value / 1e3)} ms"
    return f"{_significant(value / 1e6)} s"


def duration(seconds: float) -> str:
    """Format a duration in seconds: `1.07 ms`, `2.5 s`, `10 s`, `1 min 30 s`."""
    if 0 < seconds < 1:
        return microseconds(seconds * 1e6)
    if seconds < 60:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + " s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def significant(number: float) -> str:
    """Return a number with three significant digits, whole from 100 up, never with an exponent."""
    if abs(number) >= 99.95:
        return f"{number:,.0f}"
    return f"{float(f'{number:.3g}'):.12f}".rstrip("0").rstrip(".")


def signed(number: float) -> str:
    """Return a number with its sign: `+12.3`, `-1,200`."""
    return ("+" if number >= 0 else "") + significant(number)


def _significant(number: float) -> str:
    decimals = 2 if number < 9.995 else 1 if number < 99.95 else 0
    return f"{number:,.{decimals}f}"
