"""Which name an uploaded file gets: its client's, as far as a file can have it."""

import re
import unicodedata

from aserve.http.messages import HttpError

_SEPARATOR = re.compile(r"[/\\]")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NO_NAMES = frozenset({"", ".", ".."})
_MAX_NAME_SIZE = 255  # bytes: NAME_MAX of Linux


def upload_name(text: str) -> bytes:
    """Return the name of a file that a client calls so. Raises HttpError 400.

    Only what is behind the last slash or backslash: clients send paths of their own disk, and of
    the folder that was chosen. In Unicode's composed form (NFC), in which keyboards and links have
    it: macOS decomposes names. What no name should have is refused and not replaced, so that
    no two files get the same name by accident.
    """
    name = unicodedata.normalize("NFC", _SEPARATOR.split(text)[-1])
    if name in _NO_NAMES:
        raise HttpError(400, "The file has no name.")
    if _CONTROL_CHARACTER.search(name):
        raise HttpError(400, "The name of the file has a control character.")
    encoded = name.encode(errors="surrogateescape")
    if len(encoded) > _MAX_NAME_SIZE:
        raise HttpError(400, f"The name of the file has more than {_MAX_NAME_SIZE} bytes.")
    return encoded
