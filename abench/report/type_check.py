"""Checks that data read from a file has the declared types."""

from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass
from functools import cache
from itertools import starmap
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

MAX_NUMBER = 2**63  # no value of a run exceeds it; infinity does


def has_type(value: object, hint: Any) -> bool:
    """Whether `value` and everything it contains has the type `hint`; an int is a valid float.

    Values of protocol types are created by our own code and not checked.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Sequence:
        arguments = (*arguments, ...)
    if origin is UnionType:
        return any(has_type(value, one) for one in arguments)
    if getattr(hint, "_is_protocol", False):
        return True
    if isinstance(value, int | float) and not -MAX_NUMBER < value < MAX_NUMBER:  # NaN included
        return False
    kind = (int, float) if hint is float else origin or hint
    return isinstance(value, kind) and all(starmap(has_type, _elements(value, arguments)))


def _elements(value: object, arguments: tuple[Any, ...]) -> Iterator[tuple[object, Any]]:
    """Yield each element of `value` with its declared type."""
    if isinstance(value, tuple):
        hints = arguments[:1] * len(value) if ... in arguments else arguments
        yield from zip(value, hints, strict=True)
    elif type(value) is dict:
        for key, other in value.items():
            yield from zip((key, other), arguments, strict=True)
    elif is_dataclass(value) and not isinstance(value, type):
        for name, hint in _field_types(type(value)).items():
            yield getattr(value, name), hint


@cache
def _field_types(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
