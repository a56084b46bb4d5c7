"""Every error's answer: a small readable page that holds nothing of the request."""

from html import escape

from aserve.semantics.messages import REASONS, Refused, Request, Response
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
</html>
"""


_RETRY = ("Retry-After", "1")
"""RFC 9110 section 10.2.3: whatever is short here, connections, files or memory, is so briefly."""

TOO_MANY_FILES = Refused(503, "Too many files are open. Try again in a moment.")


def refusal(request: Request, refused: Refused) -> Response:
    """Return the response for a refused request: HTML where the client asks for it, else text."""
    reason = REASONS[refused.status]
    if _asks_for_html(request):
        media_type = "text/html; charset=utf-8"
        page = _PAGE.format(status=refused.status, reason=escape(reason), why=escape(refused.why))
    else:
        media_type = "text/plain; charset=utf-8"
        page = f"{refused.status} {reason}\n{refused.why}\n"
    body = page.encode()
    # A kept error, or a kept redirect, would outlive its cause; and the page depends on Accept.
    kept = (("Cache-Control", "no-cache"), ("Vary", "Accept"))
    retry = (_RETRY,) if refused.status == 503 else ()
    fields = (("Content-Type", media_type), *kept, *retry, *refused.fields)
    # RFC 9112 section 2.2: after what does not match the grammar, the connection is closed.
    closes = refused.close or refused.status == 400
    response = Response(refused.status, fields, (body,), len(body), closes)
    return response.without_body() if request.method == "HEAD" else response


def _asks_for_html(request: Request) -> bool:
    """Tell whether HTML is named and not less wanted than text; */* alone asks for neither."""
    accepted = weights(request.fields.get("accept", ""))
    text = next((accepted[name] for name in ("text/plain", "text/*", "*/*") if name in accepted), 0)
    return accepted.get("text/html", 0) > 0 and accepted["text/html"] >= text
