"""What a client says of its file: the header Upload-Metadata."""

import re
from base64 import b64decode
from binascii import Error as Base64Error

from aserve.http.messages import HttpError

_KEY = re.compile(r"[!-+\--~]+")  # printable ASCII, without spaces and commas
_NAMES = ("filename", "name")  # the keys under which clients say the name of the file


def parse_metadata(text: str) -> dict[str, bytes]:
    """Return the values in a header by their keys. Raises HttpError 400.

    Pairs are separated by commas; a value is in base64, behind a space, or empty and left out.
    """
    values: dict[str, bytes] = {}
    for pair in text.split(",") if text.strip(" \t") else ():
        key, _, value = pair.strip(" \t").partition(" ")
        if not _KEY.fullmatch(key):
            raise _error("a key is missing, or is not ASCII")
        if key in values:
            raise _error("a key comes twice")
        values[key] = _decode(value.strip(" \t"))
    return values


def file_name(values: dict[str, bytes]) -> str:
    """Return the name of the file, with surrogates where it is no UTF-8. Raises HttpError 400."""
    name = next((values[key] for key in _NAMES if values.get(key)), b"")
    if not name:
        raise _error("the key filename is missing, which names the file")
    return name.decode(errors="surrogateescape")


def _decode(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError):  # ValueError: what is not ASCII
        raise _error("a value is not in base64") from None


def _error(detail: str) -> HttpError:
    return HttpError(400, f"The header Upload-Metadata is malformed: {detail}.")
