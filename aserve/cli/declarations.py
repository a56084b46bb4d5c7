"""How an option is declared, and how a command gets the options of a TypedDict."""

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import typer


def declare(group: str, *names: str, value: str | None = None, text: str, **more: Any) -> Any:
    """Return an option of a group of --help. value: what its value is called, none for a flag."""
    return typer.Option(*names, metavar=value, help=text, rich_help_panel=group, **more)


def declare_flag(group: str, name: str, letter: str = "", *, text: str) -> Any:
    """Return a flag that can also be the other way: --live and --no-live, --no-fsync and --fsync.

    So the command line can undo what the environment or a file says. Help shows the first.
    """
    other = name.replace("--no-", "--") if name.startswith("--no-") else f"--no-{name[2:]}"
    return declare(group, f"{name}/{other}", *filter(None, [letter]), text=text)


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
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint)


def _is_given(value: object) -> bool:
    """Whether the user gave an option. An empty text was given, and so was --no-live."""
    return value is not None and value != []
