"""The body of a request: bytes as given, or the encoded fields of a form."""

import base64
import secrets
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from abench.errors import ParameterError
from abench.plan import inputs

Body = tuple[str, bytes]  # its media type, and its bytes

URL_ENCODED = "application/x-www-form-urlencoded"


def read_data(text: str) -> Body:
    """Return TEXT, or the content of @FILE (@-: standard input), as it is; raises ParameterError.

    The media type of a text is that of a form, which it most often is; a user's header replaces
    it.
    """
    if not text.startswith("@"):
        return URL_ENCODED, text.encode(errors="surrogateescape")
    return "application/octet-stream", inputs.read("--data", text[1:])


def encode_form(fields: Sequence[str]) -> Body:
    """Encode `name=value` fields as a browser does; raises ParameterError.

    A value of @FILE stands for the content of a file, and makes it multipart/form-data (RFC 7578).
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
        raise ParameterError("--user", "must be like name:password")
    return f"Basic {base64.b64encode(user.encode(errors='surrogateescape')).decode()}"


def _pair(field: str) -> tuple[str, str]:
    name, equals, value = field.partition("=")
    if not (name and equals):
        raise ParameterError("--form", "a field must be like name=value or name=@file")
    return name, value


def _part(name: str, value: str) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{_quoted(name)}"'
    if not value.startswith("@"):
        return f"{disposition}\r\n\r\n{value}".encode(errors="surrogateescape")
    path = Path(value[1:])
    head = (
        f'{disposition}; filename="{_quoted(path.name)}"\r\nContent-Type: application/octet-stream'
    )
    return head.encode(errors="surrogateescape") + b"\r\n\r\n" + inputs.read("--form", value[1:])


def _quoted(text: str) -> str:
    """Return text escaped for quotes, as browsers do it (HTML, multipart/form-data)."""
    return text.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
