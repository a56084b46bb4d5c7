"""The checksum that a client sends with a body: the header Upload-Checksum."""

import hashlib
from base64 import b64decode
from binascii import Error as Base64Error

from aserve.http.messages import HttpError, Request

ALGORITHMS = ("sha1", "sha256", "sha512")
"""tus demands sha1, which finds errors of transfer and no forgery."""


class Checksum:
    """The checksum of one body, made while the body arrives."""

    def __init__(self, algorithm: str, expected: bytes) -> None:
        self._hash = hashlib.new(algorithm, usedforsecurity=False)
        self._expected = expected

    def update(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        self._hash.update(data)

    def matches(self) -> bool:
        """Tell whether the body had the checksum that was announced."""
        return self._hash.digest() == self._expected


def parse_checksum(request: Request) -> Checksum | None:
    """Return the checksum that a request announces, None for none.

    Raises HttpError 400 for one that is malformed, or of another algorithm: a client that sends a
    checksum wants it to be checked.
    """
    text = request.header("upload-checksum")
    if text is None:
        return None
    algorithm, _, value = text.partition(" ")
    if algorithm not in ALGORITHMS:
        names = ", ".join(ALGORITHMS)
        raise HttpError(400, f"The algorithm of Upload-Checksum must be one of {names}.")
    try:
        expected = b64decode(value.strip(" \t"), validate=True)
    except (Base64Error, ValueError):
        raise HttpError(400, "The header Upload-Checksum is not ALGORITHM BASE64.") from None
    return Checksum(algorithm, expected)
