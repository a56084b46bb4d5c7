"""The options of the command line. Each is declared once: names, value, help, group, completion."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, TypedDict, get_type_hints

import typer

from aserve.cli import completion
from aserve.cli.help import OTHER
from aserve.config.settings import DEFAULT_PORT, Settings
from aserve.transport.registry import DEFAULT, MODELS
from aserve.version import __version__

_ADDRESS = "Address"
_FILES = "Files and headers"
_PAGES = "Folder pages"
_URLS = "URLs and error pages"
_METHODS = "Methods"
_WRITING = "Writing"
_LIMITS = "Caching and limits"
_PROCESSES = "Processes and models"
_LOGGING = "Logging"

SPA_PAGE = "index.html"
"""The value of --spa without one."""

_DEFAULTS = {field.name: field.default for field in fields(Settings)}


def _default(setting: str) -> str:
    return str(_DEFAULTS[setting])


def _default_threads() -> str:
    """Return how many threads models have, as "8, proactor 0"."""
    usual = MODELS[DEFAULT].default_threads
    others = {name: info.default_threads for name, info in MODELS.items()}
    unusual = (f"{name} {number}" for name, number in others.items() if number != usual)
    return ", ".join((str(usual), *unusual))


def _print_version(is_requested: bool) -> None:
    if is_requested:
        print(f"aserve {__version__}")
        raise typer.Exit


class SettingOptions(TypedDict, total=False):
    """The options that are fields of Settings, as text and by the names of the fields.

    Those that the user did not give are missing: Settings has the defaults.
    """

    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            rich_help_panel=_ADDRESS,
            help="Listen here; 0.0.0.0 for all.",
            show_default=_default("host"),
            autocompletion=completion.hosts,
        ),
    ]
    port: Annotated[
        str,
        typer.Option(
            "--port",
            "-p",
            metavar="N",
            rich_help_panel=_ADDRESS,
            help="0 for any free port.",
            show_default=f"{DEFAULT_PORT} or next free",
        ),
    ]
    charset: Annotated[
        str,
        typer.Option(
            "--charset",
            metavar="NAME|none",
            rich_help_panel=_FILES,
            help="Charset of text, except XML.",
            show_default=_default("charset"),
            autocompletion=completion.charsets,
        ),
    ]
    types: Annotated[
        list[str],
        typer.Option(
            "--type",
            metavar="SUFFIX=TYPE",
            rich_help_panel=_FILES,
            help="Media type of a suffix; repeatable.",
            autocompletion=completion.types,
        ),
    ]
    decode_slashes: Annotated[
        bool,
        typer.Option(
            "--decode-slashes",
            rich_help_panel=_FILES,
            help="Treat %2F in a path as a slash, for npm.",
        ),
    ]
    listing: Annotated[
        str,
        typer.Option(
            "--listing",
            metavar="auto|on|off",
            rich_help_panel=_PAGES,
            help="List folders without index.",
            show_default=_default("listing"),
            autocompletion=completion.listings,
        ),
    ]
    page_size: Annotated[
        str,
        typer.Option(
            "--page-size",
            metavar="N",
            rich_help_panel=_PAGES,
            help="Entries on one page.",
            show_default=_default("page_size"),
        ),
    ]
    readme: Annotated[
        bool,
        typer.Option(
            "--no-readme",
            rich_help_panel=_PAGES,
            help="Show no README with a folder.",
        ),
    ]
    hide: Annotated[
        list[str],
        typer.Option(
            "--hide",
            metavar="GLOB",
            rich_help_panel=_PAGES,
            help="Hide names or paths; repeatable.",
            autocompletion=completion.hides,
        ),
    ]
    dotfiles: Annotated[
        bool,
        typer.Option(
            "--dotfiles",
            rich_help_panel=_PAGES,
            help="Show dotfiles, except keys.",
        ),
    ]
    symlinks: Annotated[
        str,
        typer.Option(
            "--symlinks",
            metavar="inside|all|none",
            rich_help_panel=_PAGES,
            help="Links that are followed.",
            show_default=_default("symlinks"),
            autocompletion=completion.symlinks,
        ),
    ]
    title: Annotated[
        str,
        typer.Option(
            "--title",
            metavar="TEXT",
            rich_help_panel=_PAGES,
            help="Name of the site on its pages.",
        ),
    ]
    archive: Annotated[
        str,
        typer.Option(
            "--archive",
            metavar="LIST|off",
            rich_help_panel=_PAGES,
            help=f"Archives: {','.join(_DEFAULTS['archive'])}.",
            show_default="all",
            autocompletion=completion.archives,
        ),
    ]
    index: Annotated[
        str,
        typer.Option(
            "--index",
            metavar="NAME,...",
            rich_help_panel=_URLS,
            help="Index files, in order.",
            show_default=",".join(_DEFAULTS["index"]),
        ),
    ]
    urls: Annotated[
        str,
        typer.Option(
            "--urls",
            metavar="NAME",
            rich_help_panel=_URLS,
            help="Whose URLs pages have; see below.",
            show_default=_default("urls"),
            autocompletion=completion.url_conventions,
        ),
    ]
    spa: Annotated[
        str,
        typer.Option(
            "--spa",
            metavar="[=FILE]",
            rich_help_panel=_URLS,
            help="Single-page app: the page of its routes.",
        ),
    ]
    error_page: Annotated[
        list[str],
        typer.Option(
            "--error-page",
            metavar="STATUS=FILE",
            rich_help_panel=_URLS,
            help="Page for errors; repeatable.",
            show_default="404.html",
            autocompletion=completion.error_pages,
        ),
    ]
    server_header: Annotated[
        bool,
        typer.Option(
            "--no-server-header",
            rich_help_panel=_FILES,
            help="Do not name the software in responses.",
        ),
    ]
    live: Annotated[
        bool,
        typer.Option(
            "--live",
            rich_help_panel=_FILES,
            help="Reload pages when a file changes.",
        ),
    ]
    allow_trace: Annotated[
        bool,
        typer.Option(
            "--allow-trace", rich_help_panel=_METHODS, help="Answer TRACE: echo the request."
        ),
    ]
    allow_connect: Annotated[
        list[str],
        typer.Option(
            "--allow-connect",
            metavar="HOST:PORT",
            rich_help_panel=_METHODS,
            help="Let CONNECT open tunnels there; repeatable.",
        ),
    ]
    write: Annotated[
        list[str],
        typer.Option(
            "--write",
            metavar="[=PATH]",
            rich_help_panel=_WRITING,
            help="Let clients change files, there; see below.",
            autocompletion=completion.write_areas,
        ),
    ]
    on_conflict: Annotated[
        str,
        typer.Option(
            "--on-conflict",
            metavar="NAME",
            rich_help_panel=_WRITING,
            help="error, replace or rename a file.",
            show_default=_default("on_conflict"),
            autocompletion=completion.conflicts,
        ),
    ]
    max_upload: Annotated[
        str,
        typer.Option(
            "--max-upload",
            metavar="SIZE",
            rich_help_panel=_WRITING,
            help="Most bytes of an upload.",
            show_default="unlimited",
        ),
    ]
    quota: Annotated[
        str,
        typer.Option(
            "--quota",
            metavar="SIZE",
            rich_help_panel=_WRITING,
            help="Most bytes of all files.",
            show_default="unlimited",
        ),
    ]
    min_free: Annotated[
        str,
        typer.Option(
            "--min-free",
            metavar="SIZE",
            rich_help_panel=_WRITING,
            help="Bytes of the disk that stay free.",
            show_default=f"{_DEFAULTS['min_free'] >> 20}M",
        ),
    ]
    fsync: Annotated[
        bool,
        typer.Option(
            "--no-fsync",
            rich_help_panel=_WRITING,
            help="Do not wait until uploads are on the disk.",
        ),
    ]
    response_cache: Annotated[
        str,
        typer.Option(
            "--response-cache",
            metavar="SIZE|off",
            rich_help_panel=_LIMITS,
            help="Memory for responses, per worker.",
            show_default=f"{_DEFAULTS['response_cache'] >> 20}M",
            autocompletion=completion.cache_sizes,
        ),
    ]
    archive_max_bytes: Annotated[
        str,
        typer.Option(
            "--archive-max-bytes",
            metavar="SIZE",
            rich_help_panel=_LIMITS,
            help="Most bytes of an archive.",
            show_default=f"{_DEFAULTS['archive_max_bytes'] >> 30}G",
        ),
    ]
    archive_max_files: Annotated[
        str,
        typer.Option(
            "--archive-max-files",
            metavar="N",
            rich_help_panel=_LIMITS,
            help="Most files in an archive.",
            show_default=_default("archive_max_files"),
        ),
    ]
    limits: Annotated[
        list[str],
        typer.Option(
            "--limit",
            metavar="NAME=N",
            rich_help_panel=_LIMITS,
            help="Change one of the limits below; repeatable.",
            autocompletion=completion.limits,
        ),
    ]
    workers: Annotated[
        str,
        typer.Option(
            "--workers",
            "-w",
            metavar="N|auto",
            rich_help_panel=_PROCESSES,
            help="Processes; auto: one per CPU.",
            show_default=_default("workers"),
            autocompletion=completion.workers,
        ),
    ]
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="NAME",
            rich_help_panel=_PROCESSES,
            help="I/O model.",
            show_default=_default("model"),
            autocompletion=completion.models,
        ),
    ]
    by_the_book: Annotated[
        bool,
        typer.Option(
            "--by-the-book",
            rich_help_panel=_PROCESSES,
            help="Take each step of the model as textbooks do.",
        ),
    ]
    threads: Annotated[
        str,
        typer.Option(
            "--threads",
            metavar="N",
            rich_help_panel=_PROCESSES,
            help="Threads of each pool.",
            show_default=_default_threads(),
        ),
    ]
    dispatch: Annotated[
        str,
        typer.Option(
            "--dispatch",
            metavar="NAME",
            rich_help_panel=_PROCESSES,
            help="How jobs go to these threads.",
            show_default=_default("dispatch"),
            autocompletion=completion.dispatches,
        ),
    ]


Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DIR",
        rich_help_panel="Arguments",
        help="Directories, NAME=DIR, or a file.",
        show_default=".",
        autocompletion=completion.paths,
    ),
]
Open = Annotated[
    bool,
    typer.Option("--open", "-o", rich_help_panel=_ADDRESS, help="Open the site in the browser."),
]
AccessLogTarget = Annotated[
    str | None,
    typer.Option(
        "--access-log",
        metavar="FILE|-|off",
        rich_help_panel=_LOGGING,
        help="Log requests there.",
        show_default="only on a terminal",
        autocompletion=completion.access_logs,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", rich_help_panel=_LOGGING, help="Print nothing but errors."),
]
Version = Annotated[
    bool,
    typer.Option(
        "--version",
        "-V",
        callback=_print_version,
        is_eager=True,
        rich_help_panel=OTHER,
        help="Print the version and exit.",
    ),
]


def with_options(options: type) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command the options of a TypedDict, as keywords; those not given are left out."""
    hints = get_type_hints(options, include_extras=True)
    shared = [_parameter(name, hint) for name, hint in hints.items()]

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[:-1]
        own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]

        def call(**given: Any) -> int:
            return command(**{name: given[name] for name in given if _is_given(given[name])})

        call.__doc__ = command.__doc__
        call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [own[0], *shared, *own[1:]],
            return_annotation=int,
        )
        return call

    return decorate


def _parameter(name: str, hint: Any) -> inspect.Parameter:
    default = False if hint.__origin__ is bool else None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _is_given(value: object) -> bool:
    """Whether the user gave an option. An empty text was given."""
    return isinstance(value, str) or bool(value)
