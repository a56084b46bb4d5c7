"""Option values without pydantic."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


class _Converter:
    """Gives a value to the parser of its option, if it has one, and else leaves it as typed."""

    def coerce(self, value: Any, param: Any, **_: Any) -> Any:
        if value is None:
            return None
        convert = _conversion(param.type_descriptor)
        return (
            [convert(one) for one in value] if isinstance(value, list | tuple) else convert(value)
        )


def _conversion(descriptor: Any) -> Callable[[Any], Any]:
    if descriptor.parameter_info.parser:
        parser: Callable[[Any], Any] = descriptor.parameter_info.parser
        return parser
    return Path if descriptor.annotation is Path else _unchanged


def _unchanged(value: Any) -> Any:
    return value


def use_plain_values(parameters: Iterable[Any]) -> None:
    """Convert the values of all options here, and not in typer.

    typer imports pydantic to turn a text into a text: 97 modules and 0.2 s of CPU time at each
    start. If a later typer no longer asks for this attribute, setting it does nothing.
    """
    for parameter in parameters:
        parameter._runtime_param = _Converter()  # noqa: SLF001 - there is no public way
