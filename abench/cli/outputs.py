"""Where a report goes: the terminal, and whichever files are asked for."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from abench.report import Report, document, files, html, tables, text

Json = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Also write the report as JSON; - is stdout."),
]
Csv = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="Also a line for each second.")
]
Hgrm = Annotated[
    Path | None,
    typer.Option("--hgrm", metavar="FILE", help="Also the latencies as HdrHistogram plots them."),
]
Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Also a page with plots.")
]


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files a report is to be written to."""

    json: str | None = None
    csv: Path | None = None
    hgrm: Path | None = None
    html: Path | None = None

    def check(self) -> None:
        """Raise ParameterError if one of them cannot be written: before a run, not after it."""
        named = {"--csv": self.csv, "--hgrm": self.hgrm, "--html": self.html}
        if self.json and self.json != "-":
            named["--json"] = Path(self.json)
        for option, path in named.items():
            if path is not None:
                files.check(option, path)
        if self.html:
            html.check()

    def publish(self, report: Report) -> None:
        """Print the report, and fill the files. With JSON on stdout, print on stderr."""
        if self.json == "-":
            document.write(report, sys.stdout)
        text.write(report, sys.stderr if self.json == "-" else sys.stdout)
        if self.json and self.json != "-":
            files.save(Path(self.json), lambda stream: document.write(report, stream))
        if self.csv:
            files.save(self.csv, lambda stream: tables.write_csv(report, stream))
        if self.html:
            files.save(self.html, lambda stream: html.write(report, stream))
        if self.hgrm:
            self._save_hgrm(self.hgrm, report)

    def _save_hgrm(self, path: Path, report: Report) -> None:
        """Write one distribution to a file, as its readers want it: with a schedule, two files."""
        service, response = report.summary.service, report.summary.response
        if report.response:
            files.save(path, lambda stream: tables.write_hgrm(response, stream))
            path = path.with_suffix(f".service{path.suffix}")
        files.save(path, lambda stream: tables.write_hgrm(service, stream))
