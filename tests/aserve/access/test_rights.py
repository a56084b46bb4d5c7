"""Who may read and write which paths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.access.rights import AccessRules, Rights, unknown_users

OPEN = Rights(frozenset({"anyone"}), frozenset({"users"}))
ANN = Rights(frozenset({"ann"}), frozenset({"ann"}))
CLOSED = Rights(frozenset({"nobody"}), frozenset({"nobody"}))


@pytest.mark.parametrize(
    ("glob", "path", "is_for_it"),
    [
        ("/private/*", b"/private/a", True),
        ("/private/*", b"/private", True),  # the name of the folder, too
        ("/private/*", b"/private/", True),
        ("/private/*", b"/privat", False),
        ("/private/*", b"/a/private/b", False),
        ("/private", b"/private/a/b", True),  # what is beneath, too
        ("/private", b"/private.txt", False),
        ("/PRIVATE/*", b"/private/a", True),  # there are file systems that ignore case
        ("*.pdf", b"/a/b.pdf", True),
        ("*.pdf", b"/a.pdf/b", True),
        ("*.pdf", b"/a.pdfx", False),
        ("/a{1,2}/*", b"/a2/x", True),
        ("/", b"/", True),
        ("/", b"/a", False),
        ("/*", b"/a", True),
        ("*", b"/", True),
        ("/x\ny", b"/x\ny/z", True),
    ],
)
def test_which_paths_a_rule_is_for(glob, path, is_for_it):
    rules = AccessRules([(glob, CLOSED)], OPEN)
    assert rules.rights_at(path) == (CLOSED if is_for_it else OPEN)


def test_the_first_rule_decides_and_the_default_where_there_is_none():
    rules = AccessRules([("/a/b/*", OPEN), ("/a/*", ANN), ("/a/b/c", CLOSED)], CLOSED)
    assert [rules.rights_at(path) for path in (b"/a/b/c", b"/a/x", b"/z", b"/")] == [
        *(OPEN, ANN, CLOSED, CLOSED)
    ]


@pytest.mark.parametrize(
    ("rights", "user", "can_read", "can_write"),
    [
        (OPEN, None, True, False),
        (OPEN, "ann", True, True),
        (ANN, None, False, False),
        (ANN, "ann", True, True),
        (ANN, "ben", False, False),
        (CLOSED, "ann", False, False),
        (Rights(frozenset(), frozenset()), "ann", False, False),
    ],
)
def test_what_nobody_is_named_for_nobody_may(rights, user, can_read, can_write):
    view = AccessRules([], rights).view_of(user)
    assert (view.may("read", b"/x"), view.may("write", b"/x")) == (can_read, can_write)


@pytest.mark.parametrize("path", [b"/a.txt.gz", b"/a.txt.br", b"/a.txt.zst", b"/a.txt.GZ"])
def test_a_compressed_copy_is_closed_as_its_original_is(path):
    assert AccessRules([("/a.txt", CLOSED)], OPEN).view_of("ann").is_unreadable(path)


def test_users_with_equal_rights_have_equal_views():
    rules = AccessRules([("/a/*", ANN)], OPEN)
    assert rules.view_of("ben") == rules.view_of("carl") != rules.view_of("ann")
    assert hash(rules.view_of("ben")) == hash(rules.view_of("carl"))


def test_groups_are_no_users():
    assert unknown_users(["anyone", "users", "nobody", "ann", "ben"], {"ann"}) == ["ben"]


@given(st.binary(max_size=40), st.sampled_from(["/a/*", "*.b", "/x", "*a*b*"]))
def test_no_path_beneath_a_closed_one_is_open(tail, glob):
    view = AccessRules([(glob, CLOSED)], OPEN).view_of("ann")
    for path in (b"/a", b"/x", b"/y.b", b"/acb", b"/a/" + tail):
        if view.is_unreadable(path):
            assert view.is_unreadable(path + b"/" + tail)
