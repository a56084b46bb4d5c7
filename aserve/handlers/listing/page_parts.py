"""The styles and scripts of the page of a directory, and the policy that allows them.

A page where files may be added has more of each, and may send requests to its site.
"""

from pathlib import Path
from typing import NamedTuple

from aserve.http.html_page import SHARED_STYLE, Inline, inline, read_script, read_style
from aserve.http.messages import NOSNIFF, Headers

_HERE = Path(__file__).parent


class PageParts(NamedTuple):
    """What a page is made with. upload_script: None where nothing may be added."""

    style: Inline
    script: Inline
    upload_script: Inline | None
    headers: Headers

    def script_tags(self) -> str:
        """Return the scripts as HTML. The second one is a module: its names are its own."""
        tags = f"<script>{self.script.text}</script>\n"
        if self.upload_script:
            tags += f'<script type="module">{self.upload_script.text}</script>\n'
        return tags


def _page_parts(*, may_add: bool) -> PageParts:
    styles = [_HERE / "page.css", *([_HERE / "upload.css"] if may_add else [])]
    style = inline(SHARED_STYLE + "".join(map(read_style, styles)))
    script = inline(read_script(_HERE / "page.js"))
    upload_scripts = map(read_script, (_HERE / "resume.js", _HERE / "upload.js"))
    upload_script = inline("\n".join(upload_scripts)) if may_add else None
    sources = " ".join(part.source for part in (script, upload_script) if part)
    connections = " connect-src 'self';" if may_add else ""
    policy = (
        f"default-src 'none'; style-src {style.source}; script-src {sources};{connections}"
        " img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    )
    headers = (
        ("Content-Security-Policy", policy),
        # Without a referrer, the Origin of a form would be null: that of any page (Fetch 3.1).
        ("Referrer-Policy", "same-origin" if may_add else "no-referrer"),
        NOSNIFF,
    )
    return PageParts(style, script, upload_script, headers)


READ_ONLY = _page_parts(may_add=False)
"""May show pictures of the same site, and run the script that is part of it."""
WRITABLE = _page_parts(may_add=True)
"""May send requests to the same site besides."""
