"""What names and globs hide: fnmatch is asked the same, name by name."""

import re
from fnmatch import translate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aserve.filesystem.visibility import ALWAYS_HIDDEN, Visibility

ALWAYS_HIDDEN_PATHS = [
    *(".git", ".git/config", "a/.git/HEAD", ".GIT/config", ".svn", ".hg", ".ssh/id_rsa"),
    *(".env", ".env.local", ".htpasswd", ".npmrc", "server.key", "a/b.PEM", "x.p12", "id_rsa"),
    *(".DS_Store", "Thumbs.db", "thumbs.DB", "a.txt~", ".#a", "a/.b.swp"),
    *("_headers", "_redirects", "aserve.toml", "_headers/x"),
    *(".aserve-upload-0123456789abcdef", "a/.aserve-upload-partial-0.json"),
    *("server.key.gz", "a.pem.br", "a.txt~.zst", ".env.gz", "aserve.toml.gz"),
]


@pytest.mark.parametrize("dotfiles", [False, True])
def test_what_is_always_hidden(*, dotfiles: bool) -> None:
    visibility = Visibility(dotfiles=dotfiles)
    shown = [path for path in ALWAYS_HIDDEN_PATHS if visibility.is_visible(path.encode())]
    assert shown == []


VISIBLE_PATHS = [
    *("", "a", "a/b.txt", "key", "a.key.txt", "keys/a", "key.pub", "id_rsa.pub", "my_headers"),
    *(
        "aserve.toml.md",
        "a~b",
        "a.swp.txt",
        "pem",
        ".well-known",
        ".well-known/a",
        "a.gz",
        "git",
    ),
]


def test_what_is_visible() -> None:
    visibility = Visibility()
    assert [path for path in VISIBLE_PATHS if not visibility.is_visible(path.encode())] == []


@pytest.mark.parametrize("path", [".a", "a/.b/c", "..a", "...", ".well-known2", ".well-known/.a"])
def test_dotfiles(path: str) -> None:
    assert not Visibility().is_visible(path.encode())
    assert Visibility(dotfiles=True).is_visible(path.encode())


@pytest.mark.parametrize(
    ("glob", "hidden", "visible"),
    [
        ("tmp", ["tmp", "a/tmp", "tmp/a", "a/tmp/b/c", "TMP", "tmp.gz"], ["tmp2", "a.tmp", "t/mp"]),
        ("*.bak", ["a.bak", "x/a.bak", ".bak", "a.bak/x", "a.bak.br"], ["abak", "a.bak.txt"]),
        ("tmp/", ["tmp", "a/tmp/x"], ["tmpx"]),
        ("/tmp", ["tmp", "tmp/a"], ["a/tmp"]),
        ("a/b", ["a/b", "a/b/c", "a/b.gz"], ["a", "x/a/b", "a/bc", "a/x/b"]),
        ("a/*", ["a/b", "a/b/c"], ["a", "b/a/c"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "b/a/c"]),
        ("**/a/b", ["a/b", "x/a/b", "x/y/a/b/c"], ["a/x/b", "xa/b"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b/c"], ["b", "a", "x/a/b", "a/xb"]),
        ("**/a/**/b", ["a/b", "x/a/y/a/b"], ["b/a", "a/c"]),
        ("**", ["a", "a/b"], []),
        ("a?c", ["abc", "aäc", "a€c"], ["ac", "abbc", "a/c"]),
        ("[a-c]x", ["ax", "Bx"], ["dx", "x"]),
        ("[!a-c]x", ["dx", "äx"], ["ax", "x", "c/x"]),
        ("[äö]", ["ä", "ö"], ["a", "äö"]),
        ("[]]x", ["]x"], ["x"]),
        ("[x", ["[x"], ["x"]),
        ("a+(b)", ["a+(b)"], ["aab"]),
        ("a*b*c", ["abc", "axbxbxc"], ["ab", "ac", "a/b/c"]),
    ],
)
def test_globs(glob: str, hidden: list[str], visible: list[str]) -> None:
    visibility = Visibility([glob])
    assert [path for path in hidden if visibility.is_visible(path.encode())] == []
    assert [path for path in visible if not visibility.is_visible(path.encode())] == []


@pytest.mark.parametrize(
    "glob", ["", "/", "a//b", "../a", "a/..", "a/./b", "a\0", "[z-a]", "[ä-ö]"]
)
def test_a_glob_that_is_none(glob: str) -> None:
    with pytest.raises(ValueError, match=r"must be a (name or a path|range)"):
        Visibility([glob])


LETTERS = st.text("abAB*?./", min_size=1, max_size=12)
PATHS = st.text("abAB./~", min_size=1, max_size=16)


def matches(globs: list[str], names: list[str]) -> bool:
    """Match a path by the definition: no cleverness, any number of steps."""
    if not globs:
        return True  # what is beneath is hidden as well
    if globs == ["**"]:
        return bool(names)
    if globs[0] == "**":
        return any(matches(globs[1:], names[start:]) for start in range(len(names) + 1))
    return bool(names and is_match(globs[0], names[0])) and matches(globs[1:], names[1:])


def is_match(glob: str, name: str) -> bool:
    return re.match(translate(glob), name, re.IGNORECASE) is not None


@given(LETTERS, PATHS)
@example("*", "/")
def test_globs_mean_what_fnmatch_means(glob: str, path: str) -> None:
    names = [name for name in path.split("/") if name]
    try:
        visibility = Visibility([glob], dotfiles=True)
    except ValueError:
        return
    pattern = glob.rstrip("/")
    is_rooted = "/" in pattern
    globs = pattern.removeprefix("/").split("/")
    while "**" in globs and globs[globs.index("**") :][1:2] == ["**"]:
        globs.remove("**")
    if not is_rooted:
        globs = ["**", "*" if globs == ["**"] else globs[0]]
    always = [["**", one] for one in ALWAYS_HIDDEN]
    expected = any(matches(one, names) for one in [globs, *always])
    assert visibility.is_visible("/".join(names).encode()) is not expected


@pytest.mark.parametrize("path", [b"a" * 8_000, b"a/" * 4_000, b"ab" * 4_000, b"abc/" * 2_000])
def test_no_path_takes_more_than_linear_time(path: bytes) -> None:
    """With backtracking, each of these would take hours."""
    Visibility(["*a*b*c*d*", "**/a/**/b/**/c/**/d", "a*/**/b*c*b*e"]).is_visible(path)


@pytest.mark.parametrize(
    ("hide", "at", "path", "is_visible"),
    [
        ("docs/private", b"docs", b"private/a", False),
        ("/docs/private", b"docs", b"private", False),
        ("private", b"docs", b"private", False),
        ("/private", b"docs", b"private", True),  # begins at the root of the site
        ("/private", b"", b"private", False),
        ("docs", b"docs", b"a", True),  # it is served, since it was asked for
        ("docs", b"docs", b"docs", False),
        ("x", b".config", b"a", True),
        ("x", b".config", b".a", False),
        ("x", b"a/b", b"key.pem", False),
    ],
)
def test_a_directory_at_a_path_of_the_site(
    hide: str, at: bytes, path: bytes, *, is_visible: bool
) -> None:
    policy = Visibility([hide]).beneath(at)
    assert policy.is_visible(path) == policy.allows_target(path) == is_visible or path == b".a"
    assert policy.is_visible(path) == is_visible
