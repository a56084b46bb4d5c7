"""Digest headers (RFC 9530), as the structured fields that they are (RFC 8941)."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.handlers.writing.digests import ExpectedDigests, parse_digests
from aserve.http.messages import HttpError, Request

SHA256 = hashlib.sha256(b"hello").digest()
SHA512 = hashlib.sha512(b"hello").digest()
TEXT256 = base64.b64encode(SHA256).decode()
TEXT512 = base64.b64encode(SHA512).decode()
ONE = {"sha-256": SHA256}


@pytest.mark.parametrize(
    ("text", "digests"),
    [
        ("", {}),
        (f"sha-256=:{TEXT256}:", ONE),
        (f"  sha-256=:{TEXT256}: ", ONE),
        (f"sha-256=:{TEXT256}:,sha-512=:{TEXT512}:", {**ONE, "sha-512": SHA512}),
        (f"md5=:AA==: \t,\t sha-256=:{TEXT256}:", ONE),
        (f'sha-256=:{TEXT256}:;a;b=1; c="x\\"y";*d=:AA==:', ONE),
        (f"sha-256=:{base64.b64encode(bytes(32)).decode()}:, sha-256=:{TEXT256}:", ONE),
        ("unixsum=:AA==:, x*=::", {}),
    ],
)
def test_digests(text, digests):
    assert parse_digests(text) == digests


@pytest.mark.parametrize(
    "text",
    [
        "sha-256",
        "sha-256=",
        f"sha-256={TEXT256}",
        f"sha-256=:{TEXT256}",
        f"SHA-256=:{TEXT256}:",
        f"sha-256=:{TEXT256}:,",
        f"sha-256=:{TEXT256}:,,md5=:AA==:",
        f"sha-256=:{TEXT256}: md5=:AA==:",
        f"sha-256=:{TEXT256}:;",
        f"sha-256=:{TEXT256[:-1]}:",
        f"sha-256=:{TEXT512}:",
        "sha-256=::",
        "sha-256=:A:",
        "md5=1",
        ", sha-256=:AA==:",
        "\xff",
    ],
)
def test_malformed_digests(text):
    with pytest.raises(ValueError, match="digest"):
        parse_digests(text)


ALPHABET = st.sampled_from([*'sha-256=:;, \t*A/+_."\\1é', f"sha-256=:{TEXT256}:", "md5=:AA==:"])


@given(st.lists(ALPHABET).map("".join))
def test_any_text_has_digests_of_the_right_length_or_is_malformed(text):
    try:
        digests = parse_digests(text)
    except ValueError:
        return
    assert all(
        len(digest) == {"sha-256": 32, "sha-512": 64}[name] for name, digest in digests.items()
    )


def request(**headers):
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return Request("PUT", "/", head=f"PUT / HTTP/1.1\r\n{lines}\r\n")


def test_every_digest_of_a_request_counts():
    expected = ExpectedDigests(
        request(Content_Digest=f"sha-256=:{TEXT256}:", Repr_Digest=f"sha-512=:{TEXT512}:")
    )
    assert expected.algorithms == {"sha-256", "sha-512"}
    right = {"sha-256": SHA256, "sha-512": SHA512}
    assert not expected.find_mismatch(right)
    assert expected.find_mismatch({**right, "sha-512": bytes(64)}) == "sha-512"
    assert expected.find_mismatch({**right, "sha-256": bytes(32)}) == "sha-256"
    assert ExpectedDigests(request()).algorithms == frozenset()


def test_a_malformed_header_is_named():
    with pytest.raises(HttpError, match="Repr-Digest: a digest is not") as caught:
        ExpectedDigests(request(Repr_Digest="x"))
    assert caught.value.status == 400
