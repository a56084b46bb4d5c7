"""An answer about a server's capacity, as the terminal, the page and the image show it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

Plot = tuple[str, str, str, str]
"""Title, caption, broad SVG, narrow SVG."""


class Answer(NamedTuple):
    """What is shown. The first of the sentences is the answer itself.

    figures: names and values, the main ones. rows: cells of the table below its columns. plots
    draws the curves, for which matplotlib is needed. is_sound: whether the question has its answer.
    """

    title: str
    setting: str
    is_sound: bool
    sentences: Sequence[str]
    figures: Sequence[tuple[str, str]]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    plots: Callable[[], list[Plot]]
