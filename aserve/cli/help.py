"""The layout of --help: options in groups, then examples, as wide as the terminal."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperCommand

from aserve.cli.plain_values import use_plain_values

Rows = Sequence[tuple[str, str]]
"""Lines of two columns: what can be typed, and what it means."""

_MIN_WIDTH = 70  # of a terminal for two columns
_NARROW_COLUMN = 6  # on a narrower one, the text stands below its option, indented by this
_MARGIN = 2  # that the formatter leaves free to the right


class GroupedCommand(TyperCommand):
    """A command with its options in groups; `sections` follow them, examples last."""

    sections: Mapping[str, Rows] = {}

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Parse the command line; help that its reader closes (`| head`) is no error."""
        try:
            return super().make_context(*arguments, **options)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the last flush would fail, too
            raise typer.Exit from None

    def get_params(self, ctx: Any) -> Any:
        """Return all arguments and options, --help included."""
        parameters = super().get_params(ctx)
        use_plain_values(parameters)
        return parameters

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the arguments by their names alone: typer puts braces around them."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and options, in the order in which their groups are declared."""
        formatter.width += _MARGIN
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            group = getattr(parameter, "rich_help_panel", None) or OTHER
            groups.setdefault(group, []).append((_label(parameter), _text(parameter)))
        other = groups.pop(OTHER)
        _write_sections(formatter, {**groups, OTHER: other})

    def format_epilog(self, _ctx: Any, formatter: Any) -> None:
        """Write what follows the options."""
        for name, rows in self.sections.items():
            _write_sections(formatter, {name: rows})


OTHER = "Other"
"""The group of options that name none."""


def use_color() -> bool | None:
    """Return False where the user wants no colors, None for colors on a terminal only."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return False if is_plain else None


def _write_sections(formatter: Any, sections: Mapping[str, Rows]) -> None:
    """Write sections of two columns, all with the same first column."""
    width = max(len(label) for rows in sections.values() for label, _ in rows)
    if formatter.width < _MIN_WIDTH:
        width = _NARROW_COLUMN
    for name, rows in sections.items():
        with formatter.section(typer.style(name, bold=True)):
            styled = [(typer.style(f"{label:{width}}", fg="cyan"), text) for label, text in rows]
            formatter.write_dl(styled, col_max=width)


def _label(parameter: Any) -> str:
    """Return the first spelling of an option, after its letter if it has one, and its value."""
    value = parameter.metavar or parameter.name.upper()
    if parameter.param_type_name == "argument":
        return str(value)
    letter = next((f"{name}, " for name in parameter.opts if len(name) == 2), "")
    name = next(name for name in parameter.opts if len(name) > 2)
    value = value if value.startswith("[=") else f" {value}"
    return f"{letter}{name}" if parameter.is_flag else f"{letter}{name}{value}"


def _text(parameter: Any) -> str:
    default = parameter.show_default
    return f"{parameter.help} [default: {default}]" if isinstance(default, str) else parameter.help
