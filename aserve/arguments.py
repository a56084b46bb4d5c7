"""Arguments that are checked: a wrong name or a wrong type is one line that says what is right."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import fields
from functools import lru_cache, wraps
from pathlib import Path
from reprlib import repr as shorten
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

_DESCRIPTIONS: dict[Any, str] = {
    bool: "True or False",
    float: "a number",
    int: "a whole number",
    str: "a string",
    Path: "a path",
    type(None): "None",
    tuple[str, ...]: "a tuple of strings",
}


def checks_names(kind: str) -> Callable[[type[T]], type[T]]:
    """Return a decorator of dataclasses whose unknown arguments raise a TypeError that helps.

    kind: what an argument is called, such as "setting".
    """

    def decorate(cls: type[T]) -> type[T]:
        make: Callable[..., None] = cls.__init__
        known = [field.name for field in fields(cls)]  # type: ignore[arg-type]

        @wraps(make)
        def make_checked(self: T, *args: Any, **kwargs: Any) -> None:
            check_names(kwargs, known, kind)
            make(self, *args, **kwargs)

        setattr(cls, "__init__", make_checked)  # noqa: B010 - mypy forbids the assignment
        return cls

    return decorate


def check_names(names: Iterable[str], known: Collection[str], kind: str) -> None:
    """Raise TypeError for a name that is not among the known ones."""
    for name in names:
        if name not in known:
            match = closest_name(name, known)
            hint = f"did you mean {match!r}? " if match else ""
            raise TypeError(f"unknown {kind} {name!r}: {hint}the {kind}s are {', '.join(known)}")


def closest_name(name: str, known: Collection[str]) -> str:
    """Return the known name that was probably meant, "" for none."""
    swapped = [one for one in known if sorted(one) == sorted(name)]  # prot is port, and not root
    from difflib import get_close_matches

    misspelled = get_close_matches(name, known, cutoff=0.8)  # headers is header
    parts = [one for one in known if len(name) > 2 and name in one]  # timeout is header-timeout
    similar = get_close_matches(name, known, cutoff=0.7)
    return (swapped or misspelled or parts or similar or [""])[0]


def first_difference(before: object, after: object, names: Iterable[str]) -> str:
    """Return the first of these names whose value is not the same in both, "" if all are."""
    return next((one for one in names if getattr(before, one) != getattr(after, one)), "")


def wrong_types(arguments: object) -> Iterator[tuple[str, str]]:
    """Yield each field of a dataclass whose value is not of its type, and what it must be.

    True is no whole number, though it is an int to Python; a whole number is a number.
    """
    kind: Any = type(arguments)
    for name, hint in _type_hints(kind).items():
        value = getattr(arguments, name)
        if not _is_of_type(value, hint):
            yield name, f"must be {_describe(hint)}, not {shorten(value)}"


@lru_cache(maxsize=8)
def _type_hints(kind: type) -> Mapping[str, Any]:
    """Return the types of fields: to find them takes longer than all else in making Settings."""
    return get_type_hints(kind)


def _is_of_type(value: object, hint: Any) -> bool:
    if get_origin(hint) is tuple:  # of any length
        kind = get_args(hint)[0]
        return isinstance(value, tuple) and all(isinstance(one, kind) for one in value)
    if get_origin(hint) is Mapping:
        return isinstance(value, Mapping)
    if get_origin(hint):  # a union
        return any(_is_of_type(value, one) for one in get_args(hint))
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


def _describe(hint: Any) -> str:
    if get_origin(hint) is Mapping:
        return "a mapping"
    if hint not in _DESCRIPTIONS and get_origin(hint) is tuple:
        return f"a tuple of {_describe(get_args(hint)[0])}"
    if hint not in _DESCRIPTIONS and get_origin(hint):
        return " or ".join(map(_describe, get_args(hint)))
    return _DESCRIPTIONS.get(hint) or f"aserve.{hint.__name__}(...)"
