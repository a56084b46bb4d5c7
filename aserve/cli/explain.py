"""The command `aserve explain DIR PATH`: what happens for one request."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from aserve.cli import completion
from aserve.config.settings import Settings, SettingsError
from aserve.explain.capture import RequestTrace, capture
from aserve.explain.render import print_trace, write_svg
from aserve.transport.registry import DEFAULT, default_workers

SECTIONS = {
    "Examples": (
        ("aserve explain www/ /", "# each step for the home page"),
        ("aserve explain --again www/ /", "# when the response is cached"),
        ("aserve explain --cold www/ /index.html", "# when the disk has to be read"),
        ("aserve explain --model epoll www/ /", "# in another I/O model"),
        ("aserve explain --svg trace.svg www/ /", "# a picture as well"),
    )
}

_REQUEST, _OUTPUT = "Request", "Output"

Directory = Annotated[
    str,
    typer.Argument(metavar="DIR", rich_help_panel="Arguments", help="The directory to serve."),
]
Target = Annotated[
    str,
    typer.Argument(
        metavar="PATH",
        rich_help_panel="Arguments",
        help="What to request, such as /index.html.",
        autocompletion=completion.targets,
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="NAME",
        rich_help_panel=_REQUEST,
        help="I/O model.",
        show_default=DEFAULT,
        autocompletion=completion.models,
    ),
]
ByTheBook = Annotated[
    bool, typer.Option("--by-the-book", help="Take each step of the model as textbooks do.")
]
Cold = Annotated[
    bool,
    typer.Option(
        "--cold", rich_help_panel=_REQUEST, help="First drop the files from the page cache."
    ),
]
Again = Annotated[
    bool,
    typer.Option(
        "--again", rich_help_panel=_REQUEST, help="First ask until the response is cached."
    ),
]
Svg = Annotated[
    str | None,
    typer.Option(
        "--svg",
        metavar="FILE|-",
        rich_help_panel=_OUTPUT,
        help="Draw a picture as well; - prints only that.",
    ),
]


def explain(
    directory: Directory,
    target: Target,
    model: Model = DEFAULT,
    by_the_book: ByTheBook = False,
    cold: Cold = False,
    again: Again = False,
    svg: Svg = None,
) -> int:
    """Make one request, and show what each thread of the server and the kernel did for it.

    Server and client are real. strace and Python's profiler trace the server; without strace only
    the steps of the server's own code are shown.
    """
    if not sys.stdout:
        raise SettingsError("explain", "writes to standard output, which is closed")
    root = Path(directory)
    workers = default_workers(model)
    # Raises SettingsError before anything is started.
    Settings(root, model=model, by_the_book=by_the_book, workers=workers)
    file = Path(svg) if svg and svg not in {"-", "off"} else None
    if file and not file.absolute().parent.is_dir():
        raise SettingsError("--svg", f"there is no directory {str(file.absolute().parent)!r}")
    trace = capture(root, target, model, cold=cold, again=again, by_the_book=by_the_book)
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
