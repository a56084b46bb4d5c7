"""Option values as they were typed, without pydantic."""

from collections.abc import Iterable
from typing import Any


class _AsTyped:
    """Leaves a value as it was typed."""

    def coerce(self, value: Any, **_: Any) -> Any:
        return value


def use_plain_values(parameters: Iterable[Any]) -> None:
    """Let typer pass on the values of all options unchanged.

    typer imports pydantic to turn a text into a text: 97 modules, 0.2 s of CPU time and 8 MB at
    each start. Our own parsers do what is left to do. If a later typer no longer asks for this
    attribute, setting it does nothing.
    """
    for parameter in parameters:
        parameter._runtime_param = _AsTyped()  # noqa: SLF001 - there is no public way
