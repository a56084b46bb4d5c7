"""A QR code in a terminal, for the camera of a phone: two modules in each character."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest

import segno

_MARGIN = 4
"""Light modules around a code (ISO/IEC 18004, 6.3.8), without which a camera may not find it."""

_CHARACTERS = " ▄▀█"
"""By which of the upper (2) and the lower module (1) is drawn."""

# Dark modules on a light ground, whatever the colors of the terminal are: themes change the first
# sixteen colors, and none of these two.
_BLACK_ON_WHITE, _RESET = "\x1b[38;5;16;48;5;231m", "\x1b[0m"

Modules = Sequence[int]
"""A row: 1 for each dark module, 0 for a light one."""


def format_qr_code(text: str, columns: int, lines: int, *, use_color: bool) -> list[str]:
    """Return the lines of a code for a text, none where a terminal of this size cannot show it.

    Without colors the light modules are drawn, as most terminals are dark; most cameras read the
    opposite as well.
    """
    # Of the level of errors that are corrected, it takes the best one that makes no larger code.
    code = segno.make_qr(text, error="l")
    rows = [list(row) for row in code.matrix_iter(border=_MARGIN)]
    if len(rows) > columns or (len(rows) + 1) // 2 >= lines:
        return []
    if use_color:
        return [f"{_BLACK_ON_WHITE}{line}{_RESET}" for line in _draw(rows)]
    return list(_draw([[1 - module for module in row] for row in rows]))


def _draw(rows: Sequence[Modules]) -> Iterator[str]:
    """Yield a line for each two rows; below the last one nothing is drawn."""
    for upper, lower in zip_longest(rows[::2], rows[1::2], fillvalue=[0] * len(rows)):
        yield "".join(_CHARACTERS[2 * a + b] for a, b in zip(upper, lower, strict=True))
