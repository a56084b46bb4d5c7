"""The body of a request: bytes as given, or the encoded fields of a form."""

import base64
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlencode

from abench.errors import ParameterError
from abench.plan import inputs
from abench.plan.body_template import BodyTemplate

Body = tuple[str, BodyTemplate]  # its media type, and its bytes

URL_ENCODED = "application/x-www-form-urlencoded"


def read_data(text: str) -> Body:
    """Return TEXT, or the content of @FILE (@-: standard input), as it is; raises ParameterError.

    The media type of a text is that of a form, which it most often is; a user's header replaces
    it.
    """
    if not text.startswith("@"):
        return URL_ENCODED, _text(text)
    content = inputs.read("--data", text[1:])
    return "application/octet-stream", BodyTemplate.literal(content)


def encode_form(fields: Sequence[str]) -> Body:
    """Encode `name=value` fields as a browser does; raises ParameterError.

    A value of @FILE stands for the content of a file, and makes it multipart/form-data (RFC 7578).
    """
    pairs = [_pair(field) for field in fields]
    if not any(value.startswith("@") for _, value in pairs):
        encoded = urlencode(pairs, errors="surrogateescape").replace("%7Bn%7D", "{n}")
        return URL_ENCODED, _text(encoded)
    boundary = f"abench-{os.urandom(12).hex()}"
    parts = [each for name, value in pairs for each in _part(boundary, name, value)]
    end = BodyTemplate.literal(f"--{boundary}--\r\n".encode())
    return f"multipart/form-data; boundary={boundary}", BodyTemplate.join([*parts, end])


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


def _part(boundary: str, name: str, value: str) -> Iterable[BodyTemplate]:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"'
    if not value.startswith("@"):
        yield _text(f"{head}\r\n\r\n{value}\r\n")
        return
    yield _text(f'{head}; filename="{_quoted(Path(value[1:]).name)}"\r\n')
    yield _text("Content-Type: application/octet-stream\r\n\r\n")
    yield BodyTemplate.literal(inputs.read("--form", value[1:]))
    yield _text("\r\n")


def _text(text: str) -> BodyTemplate:
    return BodyTemplate.parse(text.encode(errors="surrogateescape"))


def _quoted(text: str) -> str:
    """Return text escaped for quotes, as browsers do it (HTML, multipart/form-data)."""
    return text.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
