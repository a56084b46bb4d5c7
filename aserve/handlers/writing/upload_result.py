"""What became of the files of an upload, told in the form that the client prefers."""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from aserve.filesystem.opened_file import validator_of
from aserve.filesystem.writing.new_file import Written
from aserve.handlers.listing.names import visible_text
from aserve.handlers.listing.query import negotiate_form
from aserve.http.html_page import SHARED_STYLE, html_page, inline, read_style
from aserve.http.messages import NOSNIFF, Headers, Request, Response
from aserve.http.request_target import TargetPath

_STYLE = inline(SHARED_STYLE + read_style(Path(__file__).with_name("upload_result.css")))
_POLICY = (
    f"default-src 'none'; style-src {_STYLE.source}; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'self'"
)
_FORMS = frozenset({"html", "json"})


class Stored(NamedTuple):
    """A file that was stored. name: as the client called it. location: its path, for a URL."""

    name: str
    location: str
    size: int
    etag: str
    is_new: bool

    @property
    def status(self) -> int:
        """Return the status of an upload of this file alone."""
        return 201 if self.is_new else 200

    @classmethod
    def of(cls, name: str, written: Written, folder: TargetPath) -> "Stored":
        """Return the outcome of a file that was committed. folder: where it is in the site."""
        path = TargetPath((*folder.segments, written.path.segments[-1]), is_directory=False)
        etag = validator_of(written.status).etag
        return cls(name, path.location(), written.status.st_size, etag, written.is_new)


class Rejected(NamedTuple):
    """A file that was not stored, and why: nothing of it is left."""

    name: str
    status: int
    detail: str


Outcome = Stored | Rejected


def upload_response(
    request: Request, folder: TargetPath, outcomes: Sequence[Outcome], *, is_form: bool
) -> Response:
    """Return the response to an upload, of which at least one file is there.

    Its status is that of the first file that was rejected: a client that only looks at the status
    must not believe that all is stored. A browser that has sent a form, and stored all of it, is
    sent back to the folder, so that a reload of the page sends nothing again (303).
    """
    location = folder._replace(is_directory=True, query="").location()
    failed = next((one for one in outcomes if isinstance(one, Rejected)), None)
    form = _form(request)
    if is_form and form == "html" and not failed:
        return Response(303, (("Location", location), *_HEADERS), (), 0)
    status = failed.status if failed else max(one.status for one in outcomes)
    media_type, body, headers = _body(form, outcomes, location)
    headers = (("Content-Type", media_type), *_HEADERS, *headers)
    only = outcomes[0] if len(outcomes) == 1 else None
    if isinstance(only, Stored):
        headers += (("Location", only.location), ("ETag", only.etag))
    elif not failed:
        headers += (("Location", location),)
    # It has the names that were sent.
    return Response(status, headers, (body,), len(body), echoes=True)


_HEADERS: Headers = (("Cache-Control", "no-store"), ("Vary", "Accept"), NOSNIFF)


def _form(request: Request) -> str:
    """Return the form that Accept names: text for a client that accepts anything."""
    accept = request.headers.get("accept")
    form = negotiate_form(accept) if accept and accept.strip() != "*/*" else "text"
    return form if form in _FORMS else "text"


def _body(form: str, outcomes: Sequence[Outcome], location: str) -> tuple[str, bytes, Headers]:
    if form == "html":
        page = html_page("Upload", _STYLE, _page(outcomes, location))
        headers = (("Content-Security-Policy", _POLICY), ("Referrer-Policy", "no-referrer"))
        return "text/html; charset=utf-8", page.encode(errors="replace"), headers
    if form == "json":
        document = {"files": [_document(one) for one in outcomes]}
        return "application/json", json.dumps(document).encode(), ()
    lines = (f"{_sentence(one)}\n" for one in outcomes)
    return "text/plain; charset=utf-8", "".join(lines).encode(errors="replace"), ()


def _document(one: Outcome) -> dict[str, str | int]:
    known: dict[str, str | int] = {"name": one.name, "status": one.status}
    if isinstance(one, Rejected):
        return known | {"detail": one.detail}
    return known | {"url": one.location, "size": one.size, "etag": one.etag}


def _sentence(one: Outcome) -> str:
    if isinstance(one, Rejected):
        return f"Not stored: {visible_text(one.name)}: {one.detail}"
    return f"Stored: {one.location}"


def _page(outcomes: Sequence[Outcome], location: str) -> str:
    number = sum(isinstance(one, Stored) for one in outcomes)
    rows = "".join(map(_row, outcomes))
    files = "file" if len(outcomes) == 1 else "files"
    return (
        f"<main>\n<h1>{number} of {len(outcomes)} {files} stored</h1>\n<ul>\n{rows}</ul>\n"
        f'<p><a href="{escape(location)}">Back to the folder</a></p>\n</main>\n'
    )


def _row(one: Outcome) -> str:
    name = f"<bdi>{escape(visible_text(one.name))}</bdi>"
    if isinstance(one, Rejected):
        return f'<li class="rejected">{name} was not stored: {escape(one.detail)}</li>\n'
    return f'<li><a href="{escape(one.location)}">{name}</a> is stored.</li>\n'
