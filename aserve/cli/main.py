"""Runs a command, and turns errors into one line and an exit code."""

import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

from aserve.cli.commands import COMMANDS, COMPLETION_VARIABLE
from aserve.cli.exit_codes import BAD_PARAMETER, FAILED, OK
from aserve.cli.messages import print_message
from aserve.cli.usage_errors import UsageError, check_command
from aserve.config.configuration import label_of
from aserve.config.settings import SettingsError
from aserve.server.listeners import ListenError


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
    is_completion = COMPLETION_VARIABLE in os.environ
    if is_completion and (command := _drop_command()):
        return _parse_and_call(command, [], f"aserve {command}")
    check_command(first, COMMANDS)
    has_options = any(word.startswith("-") for word in arguments)
    if is_completion or has_options:
        return _parse_and_call("serve", arguments, "aserve")
    # Paths alone need no parser, and so neither typer nor the declarations of 80 options.
    from aserve.cli.serving import serve_site

    return serve_site(arguments, {})


def _drop_command() -> str:
    """Remove a command from the line that a shell wants completed; return its name, "" for none."""
    from aserve.cli.completion import drop_command

    return drop_command(os.environ, COMMANDS)


def _parse_and_call(command: str, arguments: list[str], name: str) -> int:
    from aserve.cli.parser import parse_and_call

    return parse_and_call(command, arguments, name)


def _print_error(reason: str, code: int) -> int:
    print_message(f"error: {reason}")
    return code
