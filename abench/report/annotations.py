"""Annotations of a run on GitHub: workflow commands, which its runner reads from the output.

The syntax and its escapes are those of "Workflow commands for GitHub Actions", and of the runner:
%, CR and LF are escaped in messages, and colons and commas in properties as well. The runner takes
a line for a command even if blanks precede it, so that text of a server in the middle of a table
could be one: between `stop-commands` and its token there are none.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from abench.stats import phrases
from abench.stats.bottleneck import find_bottleneck
from abench.stats.results import Results, main_latency
from abench.stats.run_outcome import describe_incident
from abench.stats.units import count, decimal, microseconds

MAX_ANNOTATIONS = 10
"""Of each kind: GitHub shows no more of a step."""


def write_annotations(report: Results, stream: TextIO) -> None:
    """Write an error for each condition that failed, and a notice with the figures."""
    errors = list(_errors(report))[:MAX_ANNOTATIONS]
    title = phrases.describe_target(report)
    stream.writelines(format_command("error", message, title=title) for message in errors)
    stream.write(format_command("notice", _summary(report), title=title))


@contextmanager
def commands_stopped(stream: TextIO) -> Iterator[None]:
    """Let the runner take nothing for a command that is written to `stream` meanwhile."""
    token = secrets.token_hex(16)  # no one else can know it
    stream.write(format_command("stop-commands", token))
    try:
        yield
    finally:
        stream.write(f"::{token}::\n")


def format_command(name: str, message: str, **properties: str) -> str:
    """Return a workflow command as a line."""
    listed = ",".join(f"{key}={_escape_property(value)}" for key, value in properties.items())
    return f"::{name}{' ' if listed else ''}{listed}::{_escape(message)}\n"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")


def _errors(report: Results) -> Iterator[str]:
    if incident := describe_incident(report):
        yield incident
    for one in report.thresholds:
        if one.failed:
            yield phrases.describe_outcome(one)[1]


def _summary(report: Results) -> str:
    which, latency = main_latency(report)
    p99 = microseconds(latency.percentiles["p99"])
    figures = f"{decimal(report.pages_per_sec)} pages/sec, {which} p99 {p99}"
    return f"{figures}, {count(report.failed)} failed. {find_bottleneck(report).sentence}"
