"""Every error's and redirect's answer: a small readable page.

An error's holds nothing of the request, a redirect's the address to go on to.
"""

from html import escape

from aserve.semantics.messages import NO_SNIFFING, REASONS, Fields, Refused, Request, Response
from aserve.semantics.quality import weights

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


_RETRY = ("Retry-After", "1")
"""RFC 9110 section 10.2.3: whatever is short here, connections, files or memory, is so briefly."""

TOO_MANY_FILES = Refused(503, "Too many files are open. Try again in a moment.")


def refusal(request: Request, refused: Refused) -> Response:
    """Return the response for a refused request: HTML where the client asks for it, else text.

    A redirect is HTML always, with a link for who does not follow it (RFC 9110 section 15.4.2).
    """
    link = _link(refused)
    is_html = bool(link) or _asks_for_html(request)
    body = (_page if is_html else _text)(refused, link).encode()
    media_type = f"text/{'html' if is_html else 'plain'}; charset=utf-8"
    # A kept error, or a kept redirect, would outlive its cause.
    fields: Fields = (("Content-Type", media_type), ("Cache-Control", "no-cache"), NO_SNIFFING)
    if not link:
        fields += (("Vary", "Accept"),)
    if refused.status == 503:
        fields += (_RETRY,)
    fields += refused.fields
    # RFC 9112 section 2.2: after what does not match the grammar, the connection is closed.
    closes = refused.close or refused.status == 400
    response = Response(refused.status, fields, (body,), len(body), closes)
    return response.without_body() if request.method == "HEAD" else response


def _link(refused: Refused) -> str:
    """Return where to go on, if anywhere, as HTML; it is a path of ours, or nobody says it."""
    location = next((value for name, value in refused.fields if name == "Location"), "")
    return (
        f'<p><a href="{escape(location)}">Go on to the right address</a></p>\n' if location else ""
    )


def _page(refused: Refused, link: str) -> str:
    reason, why = escape(REASONS[refused.status]), escape(refused.why)
    return _PAGE.format(status=refused.status, reason=reason, why=why, link=link)


def _text(refused: Refused, _link: str) -> str:
    return f"{refused.status} {REASONS[refused.status]}\n{refused.why}\n"


def _asks_for_html(request: Request) -> bool:
    """Tell whether HTML is named and not less wanted than text; */* alone asks for neither."""
    accepted = weights(request.fields.get("accept", ""))
    text = next((accepted[name] for name in ("text/plain", "text/*", "*/*") if name in accepted), 0)
    return accepted.get("text/html", 0) > 0 and accepted["text/html"] >= text
