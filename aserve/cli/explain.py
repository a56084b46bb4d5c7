"""The command `aserve explain DIR PATH`: what happens for one request."""

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, TextIO

import typer

from aserve.cli import completion
from aserve.cli.declarations import declare
from aserve.cli.notes import note_lines
from aserve.config.given import parsed
from aserve.config.names import Source
from aserve.config.settings import Settings, SettingsError
from aserve.config.values import parse_number
from aserve.explain.capture import ServerOptions, capture, check_target, traceable_models
from aserve.explain.page import write_page
from aserve.explain.render import print_trace, write_svg
from aserve.explain.scenario import HOST, MAX_CLIENTS, Scenario
from aserve.server.decision import decide
from aserve.transport.registry import BY_THE_BOOK, DEFAULT, default_workers

SECTIONS = {
    "Examples": (
        ("aserve explain www/ /", "# each step for the home page"),
        ("aserve explain --html models.html www/ /", "# all models, to be played step by step"),
        ("aserve explain --model reactor --by-the-book www/ /", "# in another I/O model"),
        ("aserve explain --cold www/ /index.html", "# when the disk has to be read"),
        ("aserve explain --big --slow-reader www/ /", "# when a client does not read"),
        ("aserve explain --upload www/ /new.txt", "# how a file is stored, and when it is safe"),
        ("aserve explain --svg trace.svg www/ /", "# a picture as well"),
    )
}

_MODEL, _CLIENTS, _OUTPUT = "Server", "Clients", "Output"

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
    str | None,
    declare(
        _MODEL,
        "--model",
        value="NAME",
        text="I/O model; with --html also several: epoll,reactor.",
        show_default=f"{DEFAULT}, with --html all",
        autocompletion=completion.models,
    ),
]
ByTheBook = Annotated[
    bool, declare(_MODEL, "--by-the-book", text="Take each step of the model as textbooks do.")
]
Threads = Annotated[
    str | None, declare(_MODEL, "--threads", value="N", text="Threads of the pool.")
]
Dispatch = Annotated[
    str | None,
    declare(
        _MODEL,
        "--dispatch",
        value="NAME",
        text="How the reactor dispatches jobs.",
        autocompletion=completion.dispatches,
    ),
]
Clients = Annotated[
    str,
    declare(
        _CLIENTS, "--clients", value="N", text=f"Clients at the same time, up to {MAX_CLIENTS}."
    ),
]
Pipeline = Annotated[bool, declare(_CLIENTS, "--pipeline", text="Send two requests at once.")]
Big = Annotated[bool, declare(_CLIENTS, "--big", text="Put a file of 8 MiB at PATH instead.")]
SlowReader = Annotated[
    bool, declare(_CLIENTS, "--slow-reader", text="Pause while reading; needs a large file.")
]
Cold = Annotated[
    bool, declare(_CLIENTS, "--cold", text="First drop the files from the page cache.")
]
Again = Annotated[
    bool, declare(_CLIENTS, "--again", text="First ask until the response is cached.")
]
Upload = Annotated[
    bool,
    typer.Option(
        "--upload",
        rich_help_panel=_CLIENTS,
        help="Store a file at PATH by PUT, in a directory made for it.",
    ),
]
Svg = Annotated[
    str | None,
    declare(_OUTPUT, "--svg", value="FILE|-", text="Draw a picture as well; - prints only that."),
]
Html = Annotated[
    str | None,
    declare(
        _OUTPUT,
        "--html",
        value="FILE|-",
        text="Write a page to play the steps, in English and Chinese.",
    ),
]


def explain(
    directory: Directory,
    target: Target,
    model: Model = None,
    by_the_book: ByTheBook = False,
    threads: Threads = None,
    dispatch: Dispatch = None,
    clients: Clients = "1",
    pipeline: Pipeline = False,
    big: Big = False,
    slow_reader: SlowReader = False,
    cold: Cold = False,
    again: Again = False,
    upload: Upload = False,
    svg: Svg = None,
    html: Html = None,
) -> int:
    """Make a request, and show what each thread of the server and the kernel did for it.

    Server and client are real. strace and Python's profiler trace the server; without strace only
    the steps of the server's own code are shown.
    """
    if not sys.stdout:
        raise SettingsError("explain", "writes to standard output, which is closed")
    root = Path(directory)
    count = _number("--clients", clients)
    scenario = Scenario(count, pipeline, big, slow_reader, cold, again, upload)
    has_page = html not in {None, "off"}
    thread_count = None if threads is None else _number("--threads", threads)
    options = ServerOptions(model or DEFAULT, by_the_book, thread_count, dispatch)
    servers = _servers(options, is_named=bool(model)) if has_page else [options]
    for server in servers:  # raises SettingsError before anything is started
        _settings(root, server)
    check_target(target)
    picture, page = _file(svg, "--svg"), _file(html, "--html")
    if has_page and svg:
        raise SettingsError("--svg", "does not go together with --html")
    if has_page:
        return _explain_all(root, target, servers, scenario, page)
    return _explain_one(root, target, options, scenario, picture, only_picture=svg == "-")


def _explain_one(
    root: Path,
    target: str,
    server: ServerOptions,
    scenario: Scenario,
    picture: Path | None,
    *,
    only_picture: bool,
) -> int:
    trace = capture(root, target, server, scenario)
    if only_picture:
        write_svg(trace, sys.stdout)
        return 0
    use_color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print_trace(trace, sys.stdout, use_color=use_color)
    if not (scenario.upload or scenario.big):  # which have a directory of their own
        _print_decision(_settings(root, server), target)
    if picture:
        _save(partial(write_svg, trace), picture, "--svg")
    return 0


def _settings(root: Path, server: ServerOptions) -> Settings:
    return Settings(root, workers=default_workers(server.model), **server.settings)


def _print_decision(settings: Settings, target: str) -> None:
    """Say which file, rule and coding decided the response."""
    print("\nWhat decided the response:")
    for line in note_lines(decide(settings, target, {"Host": HOST}).notes):
        print(line)


def _servers(options: ServerOptions, *, is_named: bool) -> list[ServerOptions]:
    """Return the models of a page: those that are named, or else all that can run here.

    Of several models, those take the steps of the book that can.
    """
    names = [name.strip() for name in options.model.split(",")] if is_named else traceable_models()
    if len(names) == 1:
        return [options]
    return [
        options.replaced(model=name, by_the_book=options.by_the_book and name in BY_THE_BOOK)
        for name in dict.fromkeys(names)
    ]


def _explain_all(
    root: Path,
    target: str,
    servers: Sequence[ServerOptions],
    scenario: Scenario,
    file: Path | None,
) -> int:
    """Trace each model, and write a page of them. What changes nothing for one is left out."""
    traces, idle = [], {}
    for server in servers:
        reasons = server.without_effect(scenario)
        if len(servers) > 1:
            idle[server.model] = list(reasons)
            suited, suited_scenario = server.suited_to(scenario)
        else:
            suited, suited_scenario = server, scenario
        if file:
            print(f"tracing {suited.title}", flush=True)
        traces.append(capture(root, target, suited, suited_scenario))
    write = partial(write_page, traces, idle, scenario.options)
    if file:
        _save(write, file, "--html")
    else:
        write(sys.stdout)
    return 0


def _number(option: str, text: str) -> int:
    return int(parsed(Source(option, option), parse_number, text))


def _file(name: str | None, option: str) -> Path | None:
    """Return where to write; None for standard output, or for nowhere."""
    file = Path(name) if name and name not in {"-", "off"} else None
    if file and not file.absolute().parent.is_dir():
        raise SettingsError(option, f"there is no directory {str(file.absolute().parent)!r}")
    return file


def _save(write: Callable[[TextIO], None], file: Path, option: str) -> None:
    try:
        with file.open("w", encoding="utf-8") as stream:
            write(stream)
    except OSError as error:
        raise SettingsError(option, f"{str(file)!r}: {error.strerror}") from error
