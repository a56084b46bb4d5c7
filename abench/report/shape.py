"""Whether data that came from a file is of the types that are declared."""

from dataclasses import is_dataclass
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints


def fits(value: object, hint: Any) -> bool:
    """Whether `value`, and all that it holds, is of the type `hint`. Whole numbers are floats.

    What a protocol stands for is made by code of ours, and taken as it is.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return any(fits(value, one) for one in arguments)
    if origin is tuple and isinstance(value, tuple) and arguments[-1] is Ellipsis:
        return all(fits(one, arguments[0]) for one in value)
    if origin is dict and isinstance(value, dict):
        key, held = arguments
        return all(fits(one, key) and fits(other, held) for one, other in value.items())
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, hint):
        return all(fits(getattr(value, name), kind) for name, kind in _declared(hint).items())
    if getattr(hint, "_is_protocol", False):
        return True
    return isinstance(value, (int, float) if hint is float else origin or hint)


@cache
def _declared(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
