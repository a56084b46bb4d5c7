"""Declarations of figures: each is declared once, where its value is.

A field of a dataclass is declared by its annotation, a property by a decorator:

    retried: Annotated[int, Figure("Retried", "Requests that were sent again.", "requests")]

    @property
    @derived("Rate", "/s", after="retried")
    def pages_per_sec(self) -> float:
        "Successes per second."

The JSON document is written, read and described (docs/abench-report.schema.json) by these
declarations, the tables of the manual are made from them, and so are the names for conditions
(`--fail-if`) and comparisons.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from types import UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

Kind = TypeVar("Kind")
Function = TypeVar("Function", bound=Callable[..., Any])


class Gate(NamedTuple):
    """How a figure is called in conditions, and what it is a share of.

    `of` and `measured` are attributes beside the figure: the total that a percentage refers to,
    and a number that is 0 if nothing was measured, by default the total. `share` is an attribute
    with the share itself, if that is not the plain quotient. `item` is the key of a mapping.
    """

    name: str
    of: str = ""
    measured: str = ""
    share: str = ""
    item: str = ""


class Figure(NamedTuple):
    """What a value means, and its place in the JSON document.

    `title`, `text` and `unit` are for people; the text says when a value is null. `key` is the path
    in the document, `group/name`; the name of the field by default. `after` is the key that it
    follows, "" for the beginning: fields follow each other by default. An `inline` figure has its
    own figures in the object around it; a mapping has its items there under `names`, each with its
    title. `items` are titles and texts of the values in mappings, and in classes without figures.

    `of` derives the value from the counts of a run. A figure that was added `later` is missing in
    early documents, and has a default; items of a mapping that are `later_names` are null then.
    `read` converts what is read from a document. `schema` has more keywords of JSON Schema, or None
    in place of one that its type would have. A figure is `compared` under these names, if any.
    """

    title: str = ""
    text: str = ""
    unit: str = ""
    key: str = ""
    after: str | None = None
    of: Callable[[Any], Any] | None = None
    later: bool = False
    inline: bool = False
    names: Mapping[str, str] = {}
    later_names: frozenset[str] = frozenset()
    items: Mapping[str, tuple[str, str]] = {}
    read: Callable[[Any], Any] | None = None
    schema: Mapping[str, Any] = {}
    gate: Gate | None = None
    compared: tuple[str, ...] = ()
    more_is_better: bool = False


class Entry(NamedTuple):
    """A value in the document: its path, type and declaration, and how it is read of an object."""

    key: str
    hint: Any
    figure: Figure
    get: Callable[[Any], Any]


_DERIVED: dict[Callable[..., Any], Figure] = {}


def derived(
    title: str = "", unit: str = "", text: str = "", **how: Any
) -> Callable[[Function], Function]:
    """Declare the function of a property as a figure; its docstring is the text by default."""

    def declare(function: Function) -> Function:
        described = text or (inspect.getdoc(function) or "").partition("\n")[0]
        _DERIVED[function] = _named(Figure(title, described, unit, **how), function.__name__)
        return function

    return declare


def _named(figure: Figure, name: str) -> Figure:
    return figure if figure.key else figure._replace(key=name)


@cache
def stored_figures(kind: type) -> tuple[tuple[str, Any, Figure], ...]:
    """Return name, type and figure of the declared fields; of all, if none is declared.

    Then those that have a default were added later.
    """
    hints = get_type_hints(kind, include_extras=True)
    found = [(one.name, *_declaration(one.name, hints[one.name])) for one in fields(kind)]
    declared = [each for each in found if each[2]]
    if declared:
        return tuple((name, hint, figure) for name, hint, figure in declared if figure)
    optional = {one.name for one in fields(kind) if one.default is not MISSING}
    return tuple((name, hint, Figure(key=name, later=name in optional)) for name, hint, _ in found)


def _declaration(name: str, hint: Any) -> tuple[Any, Figure | None]:
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, Figure):
            return get_args(hint)[0], _named(extra, name)
    return hint, None


def _derived_figures(kind: type) -> Iterator[tuple[str, Any, Figure]]:
    for base in reversed(kind.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, property) and value.fget in _DERIVED:
                hint = get_type_hints(value.fget, include_extras=True)["return"]
                yield name, hint, _DERIVED[value.fget]


@cache
def entries(kind: type) -> tuple[Entry, ...]:
    """Return what a document has of objects of a class, in its order."""
    return in_order([(one[2].after, _entries_of(*one)) for one in _figures(kind)])


def compared_figures(kind: type) -> dict[str, bool]:
    """Return the names under which figures of a class are compared: whether more is better."""
    found = (figure for *_, figure in _figures(kind))
    return {name: figure.more_is_better for figure in found for name in figure.compared}


def documented(kind: type[Kind]) -> type[Kind]:
    """Add the figures of a class to its docstring, for `help` and editors."""
    lines = [
        f"    {name}: {_described(figure)}" for name, _, figure in _figures(kind) if figure.text
    ]
    kind.__doc__ = "\n".join([f"{inspect.getdoc(kind)}\n\nFigures:", *lines])
    return kind


def _described(figure: Figure) -> str:
    return f"{figure.text} ({figure.unit})" if figure.unit else figure.text


def _figures(kind: type) -> list[tuple[str, Any, Figure]]:
    return [*stored_figures(kind), *_derived_figures(kind)]


def _entries_of(name: str, hint: Any, figure: Figure) -> list[Entry]:
    """Return the entry of a figure, or those that stand for it in the object around it."""

    def get(owner: Any) -> Any:
        return getattr(owner, name)

    if figure.inline:
        return [_within(get, entry) for entry in entries(hint)]
    if figure.names:
        return [
            _item(get, key, get_args(hint)[1], _named_item(figure, key, title))
            for key, title in figure.names.items()
        ]
    return [Entry(figure.key, hint, figure, get)]


def _named_item(figure: Figure, name: str, title: str) -> Figure:
    return figure._replace(title=title, later=name in figure.later_names)


def _within(get: Callable[[Any], Any], entry: Entry) -> Entry:
    return Entry(entry.key, entry.hint, entry.figure, lambda owner: entry.get(get(owner)))


def _item(get: Callable[[Any], Any], key: str, hint: Any, figure: Figure) -> Entry:
    return Entry(key, hint, figure, lambda owner: get(owner)[key])


def in_order(blocks: Sequence[tuple[str | None, Sequence[Entry]]]) -> tuple[Entry, ...]:
    """Return all entries; a block with a key is placed behind the entry of that key."""
    found = [entry for after, block in blocks if after is None for entry in block]
    waiting = [(after, block) for after, block in blocks if after is not None]
    while waiting:
        keys = ["", *(entry.key for entry in found)]
        ready = [one for one in waiting if one[0] in keys]
        if not ready:
            raise ValueError(f"no figure has the key {waiting[0][0]}")
        after, block = ready[0]
        waiting.remove((after, block))
        place = keys.index(after)
        found[place:place] = block
    return tuple(found)


def without_none(hint: Any) -> Any:
    """Return X of the type `X | None`, else the type itself."""
    if get_origin(hint) is not UnionType:
        return hint
    others = [one for one in get_args(hint) if one is not type(None)]
    return others[0] if len(others) == 1 else hint
