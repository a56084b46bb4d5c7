from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.http.content_negotiation import select_representation
from aserve.http.messages import HttpError
from aserve.http.resources import Document, Representation, Validator


def document(*codings):
    """Return a document in which each coding is smaller than the one before."""
    return Document(
        tuple(
            Representation("text/plain", 100 - index, Validator(f'"{coding}"', 0), None, coding)
            for index, coding in enumerate(("identity", *codings))
        )
    )


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (None, "identity"),
        ("", "identity"),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("*", "br"),
        ("gzip, br", "br"),
        ("gzip;q=1.0, br;q=0.9", "gzip"),
        ("gzip;q=0", "identity"),
        ("gzip;q=0.000, br;q=0", "identity"),
        ("gzip; q=0.5, identity", "identity"),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("identity;q=0, gzip", "gzip"),
        ("br;q=0, *", "gzip"),
        ("zstd", "identity"),
        ("gzip;q=2", "identity"),
        ("gzip;q=0.0001", "identity"),
    ],
)
def test_the_selected_coding(accept, coding):
    assert select_representation(document("gzip", "br"), accept).coding == coding


@pytest.mark.parametrize("accept", ["identity;q=0", "*;q=0", "identity;q=0, gzip", "*;q=0.0"])
def test_406_if_no_coding_is_acceptable(accept):
    with pytest.raises(HttpError) as error:
        select_representation(document(), accept)
    assert error.value.status == 406


@given(st.text(alphabet="gzipbr*identy;q=0.15, ", max_size=40))
def test_any_header_selects_a_coding_or_fails(accept):
    with suppress(HttpError):
        assert select_representation(document("gzip", "br"), accept).coding in {
            "identity",
            "gzip",
            "br",
        }
