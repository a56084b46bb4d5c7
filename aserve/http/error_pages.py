"""Every error's and redirect's answer: a small readable page.

An error's holds nothing of the request, a redirect's the address to go on to.
"""

from html import escape

from aserve.http.messages import NOSNIFF, REASON_PHRASES, Headers, HttpError, Request, Response
from aserve.http.qvalues import parse_qvalues

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{status} {reason}</title>
<style>
body {{ font: 1.125rem/1.5 system-ui, sans-serif }}
body {{ max-width: 36rem; margin: 18vh auto; padding: 0 1.5rem }}
h1 {{ font-size: 1.5rem }}
</style>
<h1>{status} {reason}</h1>
<p>{why}</p>
{link}</html>
"""


_RETRY_AFTER = ("Retry-After", "1")
"""RFC 9110 section 10.2.3: whatever is short here, connections, files or memory, is so briefly."""

TOO_MANY_FILES = HttpError(503, "Too many files are open. Try again in a moment.")


def error_response(request: Request, error: HttpError) -> Response:
    """Return the response for a refused request: HTML where the client asks for it, else text.

    A redirect is HTML always, with a link for who does not follow it (RFC 9110 section 15.4.2).
    """
    link = _redirect_link(error)
    is_html = bool(link) or _prefers_html(request)
    body = (_html_page if is_html else _text_page)(error, link).encode()
    media_type = f"text/{'html' if is_html else 'plain'}; charset=utf-8"
    # A kept error, or a kept redirect, would outlive its cause.
    fields: Headers = (("Content-Type", media_type), ("Cache-Control", "no-cache"), NOSNIFF)
    if not link:
        fields += (("Vary", "Accept"),)
    if error.status == 503:
        fields += (_RETRY_AFTER,)
    fields += error.headers
    # RFC 9112 section 2.2: after what does not match the grammar, the connection is closed.
    closes = error.close or error.status == 400
    response = Response(error.status, fields, (body,), len(body), closes)
    return response.without_body() if request.method == "HEAD" else response


def _redirect_link(error: HttpError) -> str:
    """Return where to go on, if anywhere, as HTML; it is a path of ours, or nobody says it."""
    location = next((value for name, value in error.headers if name == "Location"), "")
    return (
        f'<p><a href="{escape(location)}">Go on to the right address</a></p>\n' if location else ""
    )


def _html_page(error: HttpError, link: str) -> str:
    reason, why = escape(REASON_PHRASES[error.status]), escape(error.detail)
    return _PAGE.format(status=error.status, reason=reason, why=why, link=link)


def _text_page(error: HttpError, _link: str) -> str:
    return f"{error.status} {REASON_PHRASES[error.status]}\n{error.detail}\n"


def _prefers_html(request: Request) -> bool:
    """Tell whether HTML is named and not less wanted than text; */* alone asks for neither."""
    accepted = parse_qvalues(request.headers.get("accept", ""))
    text = next((accepted[name] for name in ("text/plain", "text/*", "*/*") if name in accepted), 0)
    return accepted.get("text/html", 0) > 0 and accepted["text/html"] >= text
