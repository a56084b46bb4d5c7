"""Runs a command, and turns errors into one line and an exit code."""

import logging
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import NoReturn, cast

import typer
from typer.exceptions import TyperException

from aserve.cli import completion
from aserve.cli.commands import COMMANDS
from aserve.cli.exit_codes import BAD_PARAMETER, FAILED, OK
from aserve.cli.help import GroupedCommand, use_color
from aserve.cli.messages import print_message
from aserve.cli.usage_errors import (
    UsageError,
    check_command,
    check_dashes,
    describe_usage_error,
)
from aserve.config.configuration import label_of
from aserve.config.kinds import SPA_PAGE
from aserve.config.settings import SettingsError
from aserve.handlers.writing.areas import EVERYWHERE
from aserve.http.origins import ANY
from aserve.server.listeners import ListenError

_OPTIONAL_VALUES = {
    "--spa": f"--spa={SPA_PAGE}",
    "--write": f"--write={EVERYWHERE}",
    "--cors": f"--cors={ANY}",
}
"""Options that stand for themselves with a value: typer knows no optional ones."""
_COMPLETION_OPTIONS = {"install_completion", "show_completion"}


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run aserve. Exit codes: 0 stopped by a signal, 1 cannot serve, 2 bad parameter."""
    logging.basicConfig(format="aserve: %(message)s", level=logging.WARNING)
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: list[str]) -> int:
    try:
        return _run_command(arguments)
    except UsageError as error:
        return _print_error(str(error), BAD_PARAMETER)
    except SettingsError as error:
        return _print_error(f"{label_of(error.setting, {})}: {error.reason}", BAD_PARAMETER)
    except ListenError as error:
        return _print_error(f"{label_of(error.setting, {})}: {error.reason}", FAILED)
    except KeyboardInterrupt:
        return OK
    except Exception as error:  # noqa: BLE001 - the last boundary: one line and no traceback
        return _print_error(
            getattr(error, "strerror", None) or f"internal error: {error!r}", FAILED
        )


def _run_command(arguments: list[str]) -> int:
    """Serve, or run another command, which is imported only then: it does not delay serving.

    A directory named check can still be served: as `aserve check` or `aserve ./check`.
    """
    first = arguments[0] if arguments else ""
    if first in COMMANDS and (len(arguments) > 1 or not Path(first).is_dir()):
        return _parse_and_call(first, arguments[1:], f"aserve {first}")
    is_completion = completion.VARIABLE in os.environ
    if is_completion and (command := completion.drop_command(os.environ, COMMANDS)):
        return _parse_and_call(command, [], f"aserve {command}")
    check_command(first, COMMANDS)
    return _parse_and_call("serve", arguments, "aserve")


def _parse_and_call(command: str, arguments: list[str], name: str) -> int:
    """Import the command of this name, parse its arguments and call it."""
    parser = build_parser(command)
    arguments = _with_values(arguments)
    check_dashes(arguments, parser)
    try:
        code = parser.main(
            arguments, prog_name=name, complete_var=completion.VARIABLE, standalone_mode=False
        )
    except TyperException as error:
        raise UsageError(describe_usage_error(error, parser, name)) from error
    return int(code or OK)


def _with_values(arguments: list[str]) -> list[str]:
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


def _print_error(reason: str, code: int) -> int:
    print_message(f"error: {reason}")
    return code
