"""The body of every error and redirect: a small readable page.

An error page contains nothing from the request. A redirect page contains the new address.
"""

from html import escape
from pathlib import Path

from aserve.http.html_page import SHARED_STYLE, html_page, inline, read_style
from aserve.http.messages import NOSNIFF, REASON_PHRASES, Headers, HttpError, Request, Response
from aserve.http.qvalues import parse_qvalues

_STYLE = inline(SHARED_STYLE + read_style(Path(__file__).with_name("error_page.css")))
_RETRY_AFTER = ("Retry-After", "1")
"""RFC 9110 section 10.2.3: a shortage of connections, files or memory lasts only briefly."""

TOO_MANY_FILES = HttpError(503, "Too many files are open. Try again in a moment.")


def error_response(request: Request, error: HttpError) -> Response:
    """Return the response for a rejected request: HTML if the client prefers it, else plain text.

    A redirect is always HTML, with a link for clients that do not follow it (RFC 9110 section
    15.4.2).
    """
    link = _redirect_link(error)
    is_html = bool(link) or _prefers_html(request)
    body = (_html_page if is_html else _text_page)(error, link).encode()
    media_type = f"text/{'html' if is_html else 'plain'}; charset=utf-8"
    # A cached error or redirect would outlive its cause.
    headers: Headers = (("Content-Type", media_type), ("Cache-Control", "no-cache"), NOSNIFF)
    if not link:
        headers += (("Vary", "Accept"),)
    if error.status == 503:
        headers += (_RETRY_AFTER,)
    headers += error.headers
    # RFC 9112 section 2.2: the connection is closed after a message that breaks the grammar.
    close = error.close or error.status == 400
    return Response(error.status, headers, (body,), len(body), close)


def _redirect_link(error: HttpError) -> str:
    """Return a link to the Location, as HTML; empty for errors that have none."""
    location = next((value for name, value in error.headers if name == "Location"), "")
    return (
        f'<p><a href="{escape(location)}">Continue to the correct address</a></p>\n'
        if location
        else ""
    )


def _html_page(error: HttpError, link: str) -> str:
    status, reason = error.status, escape(REASON_PHRASES[error.status])
    heading = f"<h1><span>{status}</span> {reason}</h1>"
    body = f"<main>\n{heading}\n<p>{escape(error.detail)}</p>\n{link}</main>\n"
    return html_page(f"{status} {reason}", _STYLE, body)


def _text_page(error: HttpError, _link: str) -> str:
    return f"{error.status} {REASON_PHRASES[error.status]}\n{error.detail}\n"


def _prefers_html(request: Request) -> bool:
    """Tell whether Accept names HTML and ranks it at least as high as text; */* alone does not."""
    accepted = parse_qvalues(request.headers.get("accept", ""))
    text = next((accepted[name] for name in ("text/plain", "text/*", "*/*") if name in accepted), 0)
    return accepted.get("text/html", 0) > 0 and accepted["text/html"] >= text
