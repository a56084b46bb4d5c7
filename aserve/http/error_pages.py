"""The body of every error and redirect: a small readable page, or the site's own.

An error page contains nothing from the request. A redirect page contains the new address.
"""

import json
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import NamedTuple

from aserve.http.html_page import SHARED_STYLE, html_page, inline, read_style
from aserve.http.messages import NOSNIFF, REASON_PHRASES, Headers, HttpError, Request, Response
from aserve.http.qvalues import parse_qvalues

_STYLE = inline(SHARED_STYLE + read_style(Path(__file__).with_name("error_page.css")))
_RETRY_AFTER = ("Retry-After", "1")
"""RFC 9110 section 10.2.3: a shortage of connections, files or memory lasts only briefly."""

TOO_MANY_FILES = HttpError(503, "Too many files are open. Try again in a moment.")

_JSON = ("application/problem+json", "application/json")


class Page(NamedTuple):
    """The body of an error response."""

    media_type: str
    body: bytes


FindPage = Callable[[], Page | None]
"""Returns the page that a site has for an error, None if it has none."""


def error_response(
    request: Request, error: HttpError, find_page: FindPage | None = None
) -> Response:
    """Return the response for a rejected request, in the form that the client prefers.

    find_page: is asked for the site's own page, which any client gets that accepts HTML. Without
    one, HTML is for those that name it. A redirect is always HTML, with a link for clients that do
    not follow it (RFC 9110 section 15.4.2).
    """
    link = _redirect_link(error)
    page = _html_page(error, link) if link else _negotiated_page(request, error, find_page)
    # A cached error or redirect would outlive its cause.
    headers: Headers = (("Content-Type", page.media_type), ("Cache-Control", "no-cache"), NOSNIFF)
    if not link:
        headers += (("Vary", "Accept"),)
    if error.status == 503:
        headers += (_RETRY_AFTER,)
    # Its own values come instead of these; those of Vary are of a list, to which both add.
    own = {name for name, _ in error.headers} - {"Vary"}
    headers = (*(header for header in headers if header[0] not in own), *error.headers)
    # RFC 9112 section 2.2: the connection is closed after a message that breaks the grammar.
    close = error.close or error.status == 400
    echoes = bool(link)  # which has the path and the query
    return Response(error.status, headers, (page.body,), len(page.body), close, echoes=echoes)


def problem_response(error: HttpError) -> Response:
    """Return the response for a rejected request as problem details, whatever the client prefers.

    For a method that programs use, and whose definition asks for them.
    """
    page = _problem(error)
    headers: Headers = (("Content-Type", page.media_type), ("Cache-Control", "no-cache"), NOSNIFF)
    return Response(error.status, headers + error.headers, (page.body,), len(page.body))


def _redirect_link(error: HttpError) -> str:
    """Return a link to the Location, as HTML; empty for errors that have none."""
    location = next((value for name, value in error.headers if name == "Location"), "")
    return (
        f'<p><a href="{escape(location)}">Continue to the correct address</a></p>\n'
        if location
        else ""
    )


def _negotiated_page(request: Request, error: HttpError, find_page: FindPage | None) -> Page:
    accepted = parse_qvalues(request.headers.get("accept", "*/*"))
    if _prefers_json(accepted):
        return _problem(error)
    if find_page and _accepts_html(accepted) and (page := find_page()):
        return page
    return _html_page(error, "") if _prefers_html(accepted) else _text_page(error)


def _html_page(error: HttpError, link: str) -> Page:
    status, reason = error.status, escape(REASON_PHRASES[error.status])
    heading = f"<h1><span>{status}</span> {reason}</h1>"
    body = f"<main>\n{heading}\n<p>{escape(error.detail)}</p>\n{link}</main>\n"
    page = html_page(f"{status} {reason}", _STYLE, body)
    return Page("text/html; charset=utf-8", page.encode())


def _text_page(error: HttpError) -> Page:
    text = f"{error.status} {REASON_PHRASES[error.status]}\n{error.detail}\n"
    return Page("text/plain; charset=utf-8", text.encode())


def _problem(error: HttpError) -> Page:
    """Return the problem details of RFC 9457; about:blank: the status says all (section 4.2.1)."""
    title = REASON_PHRASES[error.status]
    problem = {"title": title, "status": error.status, "detail": error.detail}
    return Page("application/problem+json", json.dumps(problem).encode())


def _prefers_html(accepted: Mapping[str, float]) -> bool:
    """Tell whether Accept names HTML and ranks it at least as high as text; */* alone does not."""
    html = accepted.get("text/html", 0)
    return html > 0 and html >= _quality(accepted, "text/plain", "text/*", "*/*")


def _accepts_html(accepted: Mapping[str, float]) -> bool:
    """Tell whether Accept allows HTML, by any range, and does not name text as better."""
    html = _quality(accepted, "text/html", "text/*", "*/*")
    return html > 0 and html >= accepted.get("text/plain", 0)


def _prefers_json(accepted: Mapping[str, float]) -> bool:
    """Tell whether Accept names JSON and ranks it higher than HTML, and not lower than text.

    Browsers name HTML; programs name JSON, and often text and anything else behind it.
    """
    quality = max(accepted.get(name, 0) for name in _JSON)
    names_less = quality > accepted.get("text/html", 0)
    return quality > 0 and names_less and quality >= accepted.get("text/plain", 0)


def _quality(accepted: Mapping[str, float], *ranges: str) -> float:
    """Return the quality of a media type: that of the first of its ranges, 0 without any."""
    return next((accepted[name] for name in ranges if name in accepted), 0)
