"""Content-Disposition: under which name a client saves a response (RFC 6266)."""

import re
from urllib.parse import quote

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
