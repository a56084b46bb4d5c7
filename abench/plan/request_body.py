"""What a request carries: octets as given, or a form's fields encoded."""

import base64
import secrets
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from abench.errors import ParameterError
from abench.plan import inputs

Body = tuple[str, bytes]  # its media type, and its octets

URL_ENCODED = "application/x-www-form-urlencoded"


def read_data(text: str) -> Body:
    """Return TEXT, or what @FILE has (@-: standard input), as it is; raises ParameterError.

    The media type is a form's, since that is what such text most often is; a header field of the
    user's says otherwise.
    """
    if not text.startswith("@"):
        return URL_ENCODED, text.encode(errors="surrogateescape")
    return "application/octet-stream", inputs.read("--data", text[1:])


def encode_form(fields: Sequence[str]) -> Body:
    """Encode `name=value` fields as a browser does; raises ParameterError.

    A value of @FILE is a file's content, and makes it multipart/form-data (RFC 7578).
    """
    pairs = [_pair(field) for field in fields]
    if not any(value.startswith("@") for _, value in pairs):
        return URL_ENCODED, urlencode(pairs, errors="surrogateescape").replace(
            "%7Bn%7D", "{n}"
        ).encode()
    boundary = f"abench-{secrets.token_hex(12)}".encode()
    parts = [b"--%s\r\n%s\r\n" % (boundary, _part(name, value)) for name, value in pairs]
    content_type = f"multipart/form-data; boundary={boundary.decode()}"
    return content_type, b"".join(parts) + b"--%s--\r\n" % boundary


def basic_credentials(user: str) -> str:
    """Return the credentials of `name:password` (RFC 7617 section 2); raises ParameterError."""
    if ":" not in user:
        raise ParameterError("--user", "it is like name:password")
    return f"Basic {base64.b64encode(user.encode(errors='surrogateescape')).decode()}"


def _pair(field: str) -> tuple[str, str]:
    name, equals, value = field.partition("=")
    if not (name and equals):
        raise ParameterError("--form", "a field is like name=value or name=@file")
    return name, value


def _part(name: str, value: str) -> bytes:
    named = f'Content-Disposition: form-data; name="{_quoted(name)}"'
    if not value.startswith("@"):
        return f"{named}\r\n\r\n{value}".encode(errors="surrogateescape")
    path = Path(value[1:])
    head = f'{named}; filename="{_quoted(path.name)}"\r\nContent-Type: application/octet-stream'
    return head.encode(errors="surrogateescape") + b"\r\n\r\n" + inputs.read("--form", value[1:])


def _quoted(text: str) -> str:
    """Return what may stand in quotes, as browsers write it (HTML, multipart/form-data)."""
    return text.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
