"""Content-Disposition: under which name a body is to be saved (RFC 6266)."""

import re
from urllib.parse import quote, unquote_to_bytes

# What the quoted string holds: no quotes, and no escapes, which clients read differently
# (appendix D).
_NOT_PLAIN = re.compile(r"[^ !#$&-\[\]-~]")

# RFC 8187 section 3.2.1: attr-char without letters, digits and what quote() leaves anyway.
_ATTRIBUTE_CHARACTERS = "!#$&+^`|"


def attachment(name: bytes) -> str:
    """Return the value of the header for a file of that name, which is to be saved.

    A name that is not plain ASCII is given twice, for clients that do not know RFC 8187.
    """
    text = name.decode(errors="replace")
    plain = _NOT_PLAIN.sub("_", text)
    value = f'attachment; filename="{plain}"'
    if plain == text:
        return value
    return f"{value}; filename*=UTF-8''{quote(text, safe=_ATTRIBUTE_CHARACTERS)}"


_PARAMETER = re.compile(
    r";[ \t]*(?P<name>[\w!#$&+.^`|~*-]+)[ \t]*=[ \t]*"
    r'(?:"(?P<quoted>(?:[^"\\]|\\.)*+)"|(?P<token>[^\s;"]+))[ \t]*(?=;|\Z)',
    re.ASCII,
)
_ESCAPE = re.compile(r"\\(.)")
_EXTENDED = re.compile(r"(?P<charset>utf-8|iso-8859-1)'[^']*'(?P<value>.*)", re.IGNORECASE)


def parse_filename(value: str) -> str:
    """Return the name in a header that a client has sent, in Latin-1 as it arrived; "" without one.

    filename* counts before filename (RFC 6266 section 4.3). Clients send UTF-8 in a plain name.
    """
    start = value.find(";")
    found: dict[str, str] = {}
    while start >= 0 and (match := _PARAMETER.match(value, start)):
        name, quoted, token = match.groups()
        text = token if quoted is None else _ESCAPE.sub(r"\1", quoted)
        found.setdefault(name.lower(), text)
        start = match.end() if match.end() < len(value) else -1
    if extended := _EXTENDED.fullmatch(found.get("filename*", "")):
        encoded = unquote_to_bytes(extended["value"])
        return encoded.decode(extended["charset"], errors="surrogateescape")
    return _as_utf8(found.get("filename", ""))


def _as_utf8(text: str) -> str:
    try:
        return text.encode("latin-1").decode()
    except ValueError:
        return text
