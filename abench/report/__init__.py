"""How the figures of a run are shown: a row in REPORTS for each form."""

from collections.abc import Callable
from typing import TextIO

from abench.report import document, text
from abench.report.derived import Latency, Report, derive

REPORTS: dict[str, Callable[[Report, TextIO], None]] = {
    "text": text.write,
    "json": document.write,
}

__all__ = ["REPORTS", "Latency", "Report", "derive"]
