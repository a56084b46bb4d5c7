"""The command `aserve explain DIR PATH`: what happens for one request."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from aserve.config.settings import Settings, SettingsError
from aserve.explain.capture import RequestTrace, capture
from aserve.explain.render import print_trace, write_svg
from aserve.transport.registry import DEFAULT, MODELS


def explain(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory to serve.")],
    target: Annotated[
        str, typer.Argument(metavar="PATH", help="What to request, such as /index.html.")
    ],
    model: Annotated[
        str, typer.Option(metavar="NAME", help=f"The I/O model: {', '.join(MODELS)}.")
    ] = DEFAULT,
    cold: Annotated[
        bool, typer.Option("--cold", help="First drop the files from the kernel's page cache.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="First make the same request until the response is cached."),
    ] = False,
    svg: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-",
            help="Also draw a picture for a browser; - prints it instead of the text.",
        ),
    ] = None,
) -> int:
    """Make one request, and show what each thread of the server and the kernel did for it.

    Server and client are real. strace and Python's profiler trace the server; without strace only
    the steps of the server's own code are shown.
    """
    if not sys.stdout:
        raise SettingsError("explain", "writes to standard output, which is closed")
    Settings(directory, model=model)  # raises SettingsError before anything is started
    file = Path(svg) if svg and svg not in {"-", "off"} else None
    if file and not file.absolute().parent.is_dir():
        raise SettingsError("--svg", f"there is no directory {str(file.absolute().parent)!r}")
    trace = capture(directory, target, model, cold=cold, again=again)
    if svg == "-":
        write_svg(trace, sys.stdout)
        return 0
    print_trace(trace, sys.stdout, use_color=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    if file:
        _save(trace, file)
    return 0


def _save(trace: RequestTrace, file: Path) -> None:
    try:
        with file.open("w", encoding="utf-8") as stream:
            write_svg(trace, stream)
    except OSError as error:
        raise SettingsError("--svg", f"{str(file)!r}: {error.strerror}") from error
