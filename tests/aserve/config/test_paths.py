"""The arguments of the command: what they serve together."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.config.paths import parse_paths


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch) -> None:
    for name in ("docs", "www", "other/docs", "x=y", "home"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "film.mkv").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("line", "served"),
    [
        ("www", "www"),
        ("film.mkv", "film.mkv"),
        ("missing", "missing"),
        ("./x=y", "./x=y"),
        ("=www", {"": "www"}),
        ("/=www", {"": "www"}),
        ("docs=other/docs", {"docs": "other/docs"}),
        ("/docs/=www", "/docs/=www"),
        ("a/b/=www", {"a/b": "www"}),
        ("docs=other/docs www", {"docs": "other/docs", "": "www"}),
        ("docs=other/docs =www", {"docs": "other/docs", "": "www"}),
        ("www docs/api=docs", {"": "www", "docs/api": "docs"}),
        ("www docs", {"www": "www", "docs": "docs"}),
        ("www docs =home", {"www": "www", "docs": "docs", "": "home"}),
        ("www =home", {"www": "www", "": "home"}),
        ("./www/ other/../docs", {"www": "./www/", "docs": "other/../docs"}),
        (". docs", {"{here}": ".", "docs": "docs"}),
        ("film.mkv docs", {"film.mkv": "film.mkv", "docs": "docs"}),
        ("film.mkv a=docs", {"film.mkv": "film.mkv", "a": "docs"}),
        ("movie=film.mkv www", {"movie": "film.mkv", "": "www"}),
        ("./x=y www", {"x=y": "./x=y", "www": "www"}),
        ("a=./x=y", {"a": "./x=y"}),
        ("a=~/b", {"a": "{here}/home/b"}),
    ],
)
def test_what_is_served(line: str, served: object, tmp_path: Path) -> None:
    if isinstance(served, dict):
        served = {
            name.format(here=tmp_path.name): path.format(here=tmp_path)
            for name, path in served.items()
        }
    assert parse_paths(line.split()) == served


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("docs other/docs", "/docs is 'docs' and 'other/docs': give one another name, as in "),
        ("a=docs a=www", "/a is 'docs' and 'www'"),
        ("=docs /=www", "/ is 'docs' and 'www'"),
        ("/ docs", "'/' has no name: give it one, as in NAME='/'"),
        ("docs=", "'docs=' has no path: it is NAME=DIR"),
        ("x=y", "there is no directory or file 'y'; to serve 'x=y', write './x=y'"),
        ("www 8000", "there is no directory or file '8000'; to choose a port, use --port 8000"),
        ("http://a/?b=c", "there is no directory or file 'http://a/?b=c'; to load a server, "),
    ],
)
def test_what_cannot_be_meant_is_one_line(line: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_paths(line.split())
    assert str(caught.value).startswith(reason)


def test_a_path_that_is_too_long_is_left_to_who_checks_it() -> None:
    long = "x" * 300
    assert parse_paths([long]) == long
    assert parse_paths([f"{long}=www", f"docs={long}"]) == {long: "www", "docs": long}
    assert parse_paths(["www", long]) == {"www": "www", long: long}


def test_an_empty_argument() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        parse_paths([""])


words = st.text(st.sampled_from("ab=/.~ ü\udc80\n-"), max_size=8)


@given(arguments=st.lists(words, min_size=1, max_size=4))
def test_any_arguments_are_paths_or_one_line(arguments: list[str]) -> None:
    try:
        served = parse_paths(arguments)
    except ValueError as error:
        served = error
    if isinstance(served, ValueError):
        assert "\n" not in str(served)
        return
    if isinstance(served, str):
        assert [served] == arguments or f"={served}" in arguments[0]
    else:
        assert len(served) == len(arguments)
        assert all(path for path in served.values())
