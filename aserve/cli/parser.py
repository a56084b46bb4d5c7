"""Has typer parse the options of a command. It takes a fifth of a start to import (ADR 50)."""

import gc
import sys
from importlib import import_module
from typing import cast

import typer
from typer.exceptions import TyperException

from aserve.cli.commands import COMPLETION_VARIABLE
from aserve.cli.exit_codes import OK
from aserve.cli.help import GroupedCommand, use_color
from aserve.cli.usage_errors import UsageError, check_dashes, describe_usage_error
from aserve.config.kinds import SPA_PAGE
from aserve.config.shares import USUAL_STORE
from aserve.handlers.writing.areas import EVERYWHERE
from aserve.http.origins import ANY

_OPTIONAL_VALUES = {
    "--spa": f"--spa={SPA_PAGE}",
    "--write": f"--write={EVERYWHERE}",
    "--cors": f"--cors={ANY}",
    "--share": f"--share={USUAL_STORE}",
}
"""Options that stand for themselves with a value: typer knows no optional ones."""
_COMPLETION_OPTIONS = {"install_completion", "show_completion"}


def parse_and_call(command: str, arguments: list[str], name: str) -> int:
    """Import the command of this name, parse its arguments and call it; raises UsageError."""
    parser = build_parser(command)
    gc.enable()  # everything that the command needs is imported
    arguments = with_values(arguments)
    check_dashes(arguments, parser)
    try:
        code = parser.main(
            arguments, prog_name=name, complete_var=COMPLETION_VARIABLE, standalone_mode=False
        )
    except TyperException as error:
        raise UsageError(describe_usage_error(error, parser, name)) from error
    return int(code or OK)


def with_values(arguments: list[str]) -> list[str]:
    """Return the arguments, each option with the value that it stands for by itself."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return [_OPTIONAL_VALUES.get(word, word) for word in arguments[:end]] + arguments[end:]


def build_parser(command: str) -> GroupedCommand:
    """Return typer's parser of the command aserve/cli/COMMAND.py."""
    module = import_module(f"aserve.cli.{command}")
    settings = {
        "help_option_names": ["-h", "--help"],
        "max_content_width": sys.maxsize,  # as wide as the terminal
        "color": use_color(),
    }
    app = typer.Typer(
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=settings,
    )
    app.command(cls=GroupedCommand)(getattr(module, command))
    parser = cast("GroupedCommand", typer.main.get_command(app))
    parser.sections = module.SECTIONS
    if command != "serve":  # its completion is that of the whole program
        parser.params = [one for one in parser.params if one.name not in _COMPLETION_OPTIONS]
    return parser
