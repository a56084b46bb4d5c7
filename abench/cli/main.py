"""Runs the command, and turns errors into one line and an exit code."""

import re
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import typer

from abench.cli import hints, invocation, redaction, streams
from abench.cli.exit_codes import BAD_PARAMETER, INTERNAL, INTERRUPTED
from abench.errors import AbenchError, ParameterError
from abench.plan import inputs

# A URL has "://" in it and no name of a command has: the first word tells them apart.
COMMANDS = {
    "ab-test": "abench.cli.ab_test:ab_test",
    "calibrate": "abench.cli.calibrate:calibrate",
    "compare": "abench.cli.compare:compare_files",
    "report": "abench.cli.report:redraw",
    "--webbench": "abench.cli.webbench:webbench",
}

_COMMAND = re.compile(r"[a-z][a-z-]*", re.IGNORECASE)  # a command or a misspelled one

# The base of all usage errors, whether typer bundles click or imports it.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


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
    except _UsageError as error:
        hint = hints.hint(getattr(error, "option_name", ""))
        return _print_error(error.format_message() + hint, BAD_PARAMETER)  # type: ignore[attr-defined]
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
    if name == "--webbench":
        webbench: Callable[[list[str]], int] = _import_command(COMMANDS[name])
        return webbench(arguments[1:])
    if name in COMMANDS:
        return _parse_and_call(_import_command(COMMANDS[name]), arguments[1:], f"abench {name}")
    if _COMMAND.fullmatch(name) and name != "localhost":
        known = ", ".join(COMMANDS)
        raise ParameterError("URL", f"{name!r} is neither a URL nor one of the commands {known}")
    return _parse_and_call(_import_command("abench.cli.bench:bench"), arguments, "abench")


def _import_command(place: str) -> Callable[..., int]:
    """Import a command; the others are not imported, to start faster."""
    module, _, name = place.partition(":")
    command: Callable[..., int] = getattr(import_module(module), name)
    return command


def _parse_and_call(command: Callable[..., int], arguments: list[str], name: str) -> int:
    """Parse the arguments with typer and call the command."""
    app = typer.Typer(
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.command()(command)
    parser = typer.main.get_command(app)
    words = redaction.redact(arguments, redaction.click_options(parser))
    invocation.set_command_line([*name.split()[1:], *words])
    code: int = parser.main(arguments, prog_name=name, standalone_mode=False)
    return code


def _print_error(line: str, code: int) -> int:
    streams.print_message(f"error: {line}")
    return code
