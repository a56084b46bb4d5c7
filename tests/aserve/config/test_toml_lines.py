"""The lines of keys, in any document that tomllib reads."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.config.toml_lines import find_lines
from aserve.config.toml_text import format_key, format_value


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", {}),
        ("a = 1", {("a",): 1}),
        ("\n# x = 1\n a.b = 'c=d' # e", {("a",): 3, ("a", "b"): 3}),
        ('"a.b" = 1\n"\\u0063" = 2', {("a.b",): 1, ("c",): 2}),
        ("a = [1,\n\n 2, # ]\n]\nb = 1", {("a",): 1, ("a", 0): 1, ("a", 1): 3, ("b",): 5}),
        (
            "a = [[1], [\n2]]",
            {("a",): 1, ("a", 0): 1, ("a", 0, 0): 1, ("a", 1): 1, ("a", 1, 0): 2},
        ),
        ("a = '''\nb = 1\n'''\nc = 1", {("a",): 1, ("c",): 4}),
        ('a = """\n\\"""b = 1\n""""\nc = 1', {("a",): 1, ("c",): 4}),
        (
            "a = ''\nb = ''''''\nc = 1979-05-27 07:32:00.5\nd = 1.5e3",
            {("a",): 1, ("b",): 2, ("c",): 3, ("d",): 4},
        ),
        (
            "[a]\nc = {d = 1, e = {f = []}}",
            {
                ("a",): 1, ("a", "c"): 2, ("a", "c", "d"): 2, ("a", "c", "e"): 2,
                ("a", "c", "e", "f"): 2,
            },
        ),
        (
            "[[s]]\nx=1\n[[s.p]]\n[s.p.q]\n[[s.p]]\n\n[[ s ]]\ny=2\n[[s.p]]",
            {
                ("s",): 1, ("s", 0): 1, ("s", 0, "x"): 2, ("s", 0, "p"): 3, ("s", 0, "p", 0): 3,
                ("s", 0, "p", 0, "q"): 4, ("s", 0, "p", 1): 5,
                ("s", 1): 7, ("s", 1, "y"): 8, ("s", 1, "p"): 9, ("s", 1, "p", 0): 9,
            },
        ),
    ],
)  # fmt: skip
def test_lines(text: str, lines: dict[tuple[str | int, ...], int]) -> None:
    tomllib.loads(text)
    assert find_lines(text) == lines


texts = st.text(st.characters(codec="utf-8"), max_size=6)
scalars = st.one_of(
    st.booleans(), st.integers(-99, 99), st.floats(allow_nan=False, allow_infinity=False), texts
)
inline = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
tables = st.dictionaries(texts, inline, max_size=4)
gaps = st.sampled_from(["", "\n", "# a = [\n", " \t\n", "# '''\n\n"])


def paths_of(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the paths of all that is in a value."""
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    return [each for key, one in items for each in [(*path, key), *paths_of(one, (*path, key))]]


@given(
    st.data(), tables, st.dictionaries(texts, st.lists(tables, min_size=1, max_size=2), max_size=2)
)
def test_each_key_of_a_document_has_its_line(
    data: st.DataObject, top: dict[str, Any], arrays: dict[str, list[dict[str, Any]]]
) -> None:
    written, lines = "", {}

    def write(line: str, path: tuple[str | int, ...]) -> None:
        nonlocal written
        written += data.draw(gaps)
        lines[path] = written.count("\n") + 1
        written += line + data.draw(st.sampled_from(["", " ", " # ]"])) + "\n"

    for key, value in top.items():
        write(f"{format_key(key)} = {format_value(value)}", (key,))
    arrays = {key: value for key, value in arrays.items() if key not in top}
    for key, elements in arrays.items():
        for index, table in enumerate(elements):
            write(f"[[{format_key(key)}]]", (key, index))
            for name, value in table.items():
                write(f"{format_key(name)} = {format_value(value)}", (key, index, name))
    assert tomllib.loads(written) == {**top, **arrays}
    found = find_lines(written)
    assert set(found) == set(paths_of({**top, **arrays}))
    assert {path: found[path] for path in lines} == lines


@given(st.text(st.sampled_from("abc1.=[]{}\"'\\\n#, "), max_size=40))
def test_whatever_tomllib_reads_has_its_lines(text: str) -> None:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = find_lines(text)
    assert set(lines) == set(paths_of(values))
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
