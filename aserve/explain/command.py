"""`aserve explain www/ /path`: what happened for one request."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from aserve.explain.drawing import draw, tell
from aserve.explain.look import look
from aserve.models.table import DEFAULT, MODELS
from aserve.settings import Settings, SettingsError


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
        Path | None, typer.Option(metavar="FILE", help="Draw it, too: a picture for a browser.")
    ] = None,
) -> int:
    """Make one request, and tell what each thread of the server and the kernel did for it.

    The server is a real one, watched by strace and by Python's own profiler, and the client is a
    real one. Without strace only the steps of the server's own code are told.
    """
    Settings(folder, model=model)  # raises what is wrong with them before anything is started
    if svg and not svg.absolute().parent.is_dir():
        raise SettingsError("--svg", f"there is no folder {str(svg.absolute().parent)!r}")
    story = look(folder, target, model, cold=cold, again=again)
    tell(story, sys.stdout, coloured=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    if svg:
        try:
            with svg.open("w", encoding="utf-8") as stream:
                draw(story, stream)
        except OSError as error:
            raise SettingsError("--svg", f"{str(svg)!r}: {error.strerror}") from error
    return 0
