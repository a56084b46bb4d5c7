"""The report of a run as programs and notebooks get it: its figures, and all of its forms."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Self

from abench.report import document, formats, html, text
from abench.stats.bottleneck import Bottleneck, find_bottleneck
from abench.stats.figure import documented
from abench.stats.results import Results
from abench.stats.units import decimal, microseconds


@documented
class Report(Results):
    """The report of a run: what `abench.run` returns.

    The figures are its fields and properties. `str(report)` is the text that abench prints, without
    colors; a notebook shows it as a page with plots.
    """

    __slots__ = ()

    @classmethod
    def of(cls, results: Results) -> Self:
        """Return the report of these results."""
        return cls(**{one.name: getattr(results, one.name) for one in fields(results)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a JSON file that `save` or `abench --json` has written.

        Raises ParameterError if there is none, or if it is something else.
        """
        return cls.of(document.read_report(Path(path)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file in the format of its suffix: .json, .csv, .hgrm, .html, .svg or .txt.

        The file is replaced as a whole, and keeps its old data if that fails. With a schedule,
        `run.hgrm` has the response times and `run.service.hgrm` beside it the service times. Beside
        `run.csv` are `run.stages.csv` and `run.urls.csv`, if there are several. Raises
        ParameterError for another suffix, or if the file cannot be written; OSError if writing
        fails, for instance on a full disk.
        """
        formats.save(self, os.fspath(path))

    @property
    def verdict(self) -> Bottleneck:
        """What limited the run, how certain that is, and the evidence."""
        return find_bottleneck(self)

    def __str__(self) -> str:
        return text.format_plain(self)

    def __repr__(self) -> str:
        which, latency = ("response", self.response) if self.response else ("service", self.service)
        p99 = microseconds(latency.percentiles["p99"])
        rate = f"{decimal(self.pages_per_sec)} pages/sec, {self.failed:,} failed"
        return f"<Report of {self.plan.target.url}: {rate}, {which} p99 {p99}>"

    def _repr_html_(self) -> str:
        return html.format_fragment(self)
