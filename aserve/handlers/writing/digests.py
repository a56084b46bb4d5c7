"""Digests that a client sends with a body, to have it checked (RFC 9530)."""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping

from aserve.filesystem.writing.digest_cache import ALGORITHMS
from aserve.http.messages import HttpError, Request

HEADERS = ("content-digest", "repr-digest")
"""Both are the same for a body without Content-Encoding that is all of the representation."""

# A member of a dictionary (RFC 8941 section 3.2) whose value is a byte sequence. A key has lower
# case; parameters are allowed by the grammar and have no meaning here.
_KEY = r"[a-z*][a-z0-9_.*-]*"
_BARE_ITEM = (
    r'(?::[A-Za-z0-9+/=]*:|[A-Za-z0-9._*:/!#$%&\'+^`|~-]+|"(?:[ !\x23-\x5b\x5d-\x7e]|\\["\\])*")'
)
_MEMBER = re.compile(
    rf"(?P<key>{_KEY})=:(?P<value>[A-Za-z0-9+/]*={{0,2}}):(?:; *{_KEY}(?:={_BARE_ITEM})?)*",
    re.ASCII,
)
_SEPARATOR = re.compile(r"[ \t]*,[ \t]*")


def parse_digests(text: str) -> dict[str, bytes]:
    """Return the digests in a header's value by their algorithms, of those in ALGORITHMS.

    Others are ignored (RFC 9530 section 2): they are too weak, or not known.
    Raises ValueError for what is malformed. Of an algorithm that comes twice, the last one counts
    (RFC 8941 section 3.2).
    """
    digests: dict[str, bytes] = {}
    position, text = 0, text.strip(" ")
    while position < len(text):
        member = _MEMBER.match(text, position)
        if not member:
            raise ValueError("a digest is not ALGORITHM=:BASE64:")
        if (algorithm := member["key"]) in ALGORITHMS:
            digests[algorithm] = _decode(algorithm, member["value"])
        position = member.end()
        if position < len(text):
            comma = _SEPARATOR.match(text, position)
            if not comma or comma.end() == len(text):
                raise ValueError("digests are not separated by one comma")
            position = comma.end()
    return digests


def _decode(algorithm: str, text: str) -> bytes:
    try:
        digest = b64decode(text, validate=True)
    except Base64Error:
        raise ValueError("a digest is not in base64") from None
    if len(digest) != ALGORITHMS[algorithm]().digest_size:
        raise ValueError(f"a digest has another length than {algorithm} has")
    return digest


def format_digest(algorithm: str, digest: bytes) -> str:
    """Return the value of a header with one digest."""
    return f"{algorithm}=:{b64encode(digest).decode()}:"


class ExpectedDigests:
    """The digests that a request names of its body.

    Raises HttpError 400 for a header that is malformed: a client that sends a digest wants it to be
    checked, so it is not ignored.
    """

    def __init__(self, request: Request) -> None:
        self._expected: list[tuple[str, bytes]] = []
        for name in HEADERS if request.has_any(*HEADERS) else ():
            try:
                self._expected += parse_digests(request.header(name) or "").items()
            except ValueError as error:
                raise HttpError(400, f"{name.title()}: {error}.") from None
        self.algorithms = frozenset(algorithm for algorithm, _ in self._expected)
        """Those of which the body's digests are needed."""

    def find_mismatch(self, digests: Mapping[str, bytes]) -> str:
        """Return an algorithm whose digest is another one than the body has, "" for none."""
        return next((name for name, digest in self._expected if digests[name] != digest), "")
