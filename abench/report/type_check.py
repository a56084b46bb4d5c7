"""Whether data that came from a file is of the types that are declared."""

from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass
from functools import cache
from itertools import starmap
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

MAX_NUMBER = 2**63  # what is beyond it, infinity too, no figure of a run is


def has_type(value: object, hint: Any) -> bool:
    """Whether `value`, and all that it holds, is of the type `hint`. Whole numbers are floats.

    What a protocol stands for is made by code of ours, and taken as it is.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Sequence:
        arguments = (*arguments, ...)
    if origin is UnionType:
        return any(has_type(value, one) for one in arguments)
    if getattr(hint, "_is_protocol", False):
        return True
    if (
        isinstance(value, int | float) and not -MAX_NUMBER < value < MAX_NUMBER
    ):  # which no NaN is, either
        return False
    kind = (int, float) if hint is float else origin or hint
    return isinstance(value, kind) and all(starmap(has_type, _held(value, arguments)))


def _held(value: object, arguments: tuple[Any, ...]) -> Iterator[tuple[object, Any]]:
    """Yield each thing that `value` holds, with its type."""
    if isinstance(value, tuple):
        hints = arguments[:1] * len(value) if ... in arguments else arguments
        yield from zip(value, hints, strict=True)
    elif type(value) is dict:
        for key, other in value.items():
            yield from zip((key, other), arguments, strict=True)
    elif is_dataclass(value) and not isinstance(value, type):
        for name, hint in _declared(type(value)).items():
            yield getattr(value, name), hint


@cache
def _declared(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
