"""Runs the command, and turns errors into one line and an exit code."""

import gc
import os
import re
import sys
import traceback
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn, cast

import typer
from typer.exceptions import TyperException

from abench.cli import completion, invocation, redaction, streams
from abench.cli.commands import BENCH, COMMANDS, WEBBENCH, Command
from abench.cli.exit_codes import INTERNAL, INTERRUPTED
from abench.cli.help import GroupedCommand, use_color
from abench.cli.usage_errors import check_dashes, usage_error
from abench.errors import AbenchError, ParameterError
from abench.plan import inputs

_COMMAND = re.compile(r"[a-z][a-z-]*", re.IGNORECASE)  # a command or a misspelled one
_COMPLETION_OPTIONS = {"install_completion", "show_completion"}


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the program `abench` and exit."""
    with streams.protected_streams() as standard:
        code = _run_command(sys.argv[1:] if arguments is None else arguments)
        code = standard.exit_code(code)
    sys.exit(code)


def _run_command(arguments: list[str]) -> int:
    """Run the command; turn an error into one line and an exit code."""
    inputs.clear_inputs()
    try:
        return _dispatch_command(arguments)
    except AbenchError as error:
        return _print_error(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a bug is reported in one line, too
        return _print_error(_describe_error(error), INTERNAL)


def _describe_error(error: Exception) -> str:
    """Return a message the user can act on, or the place of a bug to report."""
    if isinstance(error, OSError):
        named = f"{error.filename}: " if error.filename else ""
        return named + streams.error_reason(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno}"
    return f"internal error, please report it: {type(error).__name__}: {error} ({place})"


def _dispatch_command(arguments: list[str]) -> int:
    name = arguments[0] if arguments else ""
    if completion.VARIABLE in os.environ:
        name = completion.drop_command(os.environ, COMMANDS.keys() - {"--webbench"})
    if name == "--webbench":
        webbench = WEBBENCH.load()[1]
        gc.enable()
        return int(webbench(arguments[1:]))
    if name in COMMANDS:
        return _parse_and_call(COMMANDS[name], arguments[1:], f"abench {name}")
    if _COMMAND.fullmatch(name) and name != "localhost":
        raise ParameterError("URL", f"{name!r} is neither a URL nor a command; {_way_out(name)}")
    return _parse_and_call(BENCH, arguments, "abench")


def _way_out(name: str) -> str:
    similar = get_close_matches(name.lower(), COMMANDS, 1)
    if similar:
        return f"did you mean abench {similar[0]}?"
    return f"the commands are {', '.join(COMMANDS)}; see abench --help"


def _parse_and_call(command: Command, arguments: list[str], name: str) -> int:
    """Parse the arguments with typer and call the command."""
    parser = build_parser(command)
    gc.enable()  # everything that the command needs is imported
    words = redaction.redact(arguments, redaction.click_options(parser))
    invocation.set_command_line([*name.split()[1:], *words])
    check_dashes(arguments, parser)
    try:
        code: int = parser.main(
            arguments, prog_name=name, complete_var=completion.VARIABLE, standalone_mode=False
        )
    except TyperException as error:
        raise usage_error(error, parser, name) from error
    return code


def build_parser(command: Command) -> GroupedCommand:
    """Return typer's parser of a command."""
    module, function = command.load()
    settings = {
        "help_option_names": ["-h", "--help"],
        "max_content_width": sys.maxsize,  # as wide as the terminal
        "color": use_color(),
    }
    app = typer.Typer(
        rich_markup_mode=None, pretty_exceptions_enable=False, context_settings=settings
    )
    app.command(cls=GroupedCommand)(function)
    parser = cast("GroupedCommand", typer.main.get_command(app))
    parser.sections = module.SECTIONS
    if command is not BENCH:  # its completion is that of the whole program
        parser.params = [one for one in parser.params if one.name not in _COMPLETION_OPTIONS]
    return parser


def _print_error(line: str, code: int) -> int:
    streams.print_message(f"error: {line}")
    return code
