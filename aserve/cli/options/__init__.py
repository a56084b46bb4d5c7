"""The options of the command line. Each is declared once: names, value, help, group, completion."""

from typing import Annotated

import typer

from aserve.cli import completion
from aserve.cli.declarations import declare, declare_flag
from aserve.cli.help import OTHER
from aserve.cli.options.access import AccessOptions
from aserve.cli.options.addresses import ADDRESS, AddressOptions
from aserve.cli.options.files import FileOptions
from aserve.cli.options.processes import ProcessOptions
from aserve.cli.options.urls import UrlOptions
from aserve.config.config_file import FILE_NAME
from aserve.version import __version__

_STOPPING = "Stopping"
_LOGGING = "Logging"
_CONFIGURATION = "Configuration"


class SettingOptions(
    AddressOptions, FileOptions, UrlOptions, AccessOptions, ProcessOptions, total=False
):
    """The options that are fields of Settings, as text and by the names of the fields.

    Those that the user did not give are missing: Settings has the defaults.
    """


def _print_version(is_requested: bool) -> None:
    if is_requested:
        print(f"aserve {__version__}")
        raise typer.Exit


class CommandOptions(SettingOptions, total=False):
    """All options of a command that has the settings: also what is no setting of a server.

    What of it can be in a file is named in aserve/config/kinds.py as well.
    """

    lan: Annotated[
        bool, declare_flag(ADDRESS, "--lan", text="Share in the network, with a QR code.")
    ]
    open: Annotated[
        bool, declare_flag(ADDRESS, "--open", "-o", text="Open the site in the browser.")
    ]
    port_file: Annotated[
        str,
        declare(ADDRESS, "--port-file", value="FILE", text="Write the port there, for scripts."),
    ]
    stop_after: Annotated[
        str,
        declare(
            _STOPPING,
            "--stop-after",
            value="LIMIT",
            text="End then, as 2h or 3-downloads.",
            show_default="off",
            autocompletion=completion.stops,
        ),
    ]
    idle_exit: Annotated[
        str,
        declare(
            _STOPPING,
            "--idle-exit",
            value="TIME",
            text="End after that without requests.",
            show_default="off",
            autocompletion=completion.times,
        ),
    ]
    access_log: Annotated[
        str,
        declare(
            _LOGGING,
            "--access-log",
            value="FILE|-|off",
            text="Log requests there.",
            show_default="only on a terminal",
            autocompletion=completion.access_logs,
        ),
    ]
    quiet: Annotated[
        bool, declare_flag(_LOGGING, "--quiet", "-q", text="Print nothing but errors.")
    ]
    config: Annotated[
        str,
        declare(
            _CONFIGURATION,
            "--config",
            value="FILE|off",
            text="Read options there.",
            show_default=FILE_NAME,
        ),
    ]
    watch_config: Annotated[
        bool,
        declare_flag(
            _CONFIGURATION, "--watch-config", text="Reload when the configuration file changes."
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
Version = Annotated[
    bool,
    declare(
        OTHER,
        "--version",
        "-V",
        text="Print the version and exit.",
        callback=_print_version,
        is_eager=True,
    ),
]
