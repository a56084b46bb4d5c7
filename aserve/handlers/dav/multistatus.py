"""The XML of responses: what the status of each resource is (RFC 4918 section 13)."""

import re
from html import escape

from aserve.http.messages import NOSNIFF, REASON_PHRASES, Headers

XML_HEADERS: Headers = (("Content-Type", "application/xml; charset=utf-8"), NOSNIFF)

DECLARATION = '<?xml version="1.0" encoding="utf-8"?>\n'
BEGINNING = f'{DECLARATION}<D:multistatus xmlns:D="DAV:">\n'
END = "</D:multistatus>\n"
"""Between the two: a response for each resource, each with a line break at its end."""

# XML 1.0 section 2.2: not even a reference to these is allowed.
# Written the other way round, as all that is allowed, it takes 4 ms to compile and not 0.3.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def xml_text(text: str) -> str:
    """Return any text as XML; a character that XML does not have is shown as U+FFFD."""
    # As it is, CR would be read as LF (section 2.11), and white space in an attribute as a space.
    escaped = escape(_NOT_XML.sub("\ufffd", text))
    return escaped.replace("\r", "&#13;").replace("\n", "&#10;").replace("\t", "&#9;")


def status_element(status: int) -> str:
    """Return the element that has a status."""
    return f"<D:status>HTTP/1.1 {status} {REASON_PHRASES[status]}</D:status>"


def response_element(location: str, content: str) -> str:
    """Return the response of one resource. location: its path, encoded as in a URL."""
    return f"<D:response><D:href>{escape(location)}</D:href>{content}</D:response>\n"
