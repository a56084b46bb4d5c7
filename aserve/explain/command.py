"""`aserve explain www/ /path`: what happened for one request."""

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
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to serve.")],
    target: Annotated[str, typer.Argument(metavar="PATH", help="What to ask for: /index.html")],
    model: Annotated[
        str, typer.Option(metavar="NAME", help=f"The I/O model: {', '.join(MODELS)}.")
    ] = DEFAULT,
    cold: Annotated[
        bool, typer.Option("--cold", help="With the files' contents not in the kernel's memory.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Ask so often before that the reply is remembered.")
    ] = False,
    svg: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-",
            help="Draw it, too: a picture for a browser; - prints it in place of the text.",
        ),
    ] = None,
) -> int:
    """Make one request, and tell what each thread of the server and the kernel did for it.

    The server is a real one, watched by strace and by Python's own profiler, and the client is a
    real one. Without strace only the steps of the server's own code are told.
    """
    if not sys.stdout:
        raise SettingsError("explain", "writes to standard output, which is closed")
    Settings(folder, model=model)  # raises what is wrong with them before anything is started
    file = Path(svg) if svg and svg not in {"-", "off"} else None
    if file and not file.absolute().parent.is_dir():
        raise SettingsError("--svg", f"there is no folder {str(file.absolute().parent)!r}")
    story = capture(folder, target, model, cold=cold, again=again)
    if svg == "-":
        write_svg(story, sys.stdout)
        return 0
    print_trace(story, sys.stdout, coloured=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    if file:
        _save(story, file)
    return 0


def _save(story: RequestTrace, file: Path) -> None:
    try:
        with file.open("w", encoding="utf-8") as stream:
            write_svg(story, stream)
    except OSError as error:
        raise SettingsError("--svg", f"{str(file)!r}: {error.strerror}") from error
