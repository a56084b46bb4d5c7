"""GitHub's Markdown as HTML that is safe in any page of the site.

The HTML consists of the tags that markdown-it knows, in pairs, with every text and every value
escaped. Tags in the file are left out, so that there is nothing for a sanitizer to find; and the
page's Content-Security-Policy runs no script and loads nothing from elsewhere.

It is imported with the first README that is shown: markdown-it takes as long to import as a sixth
of the whole program.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from html import escape, unescape

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

_MAX_LINKIFY_COST = 10_000_000
"""Characters. 0.5 s; a line with ten links costs 10,000. Beyond, only marked links are links."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_LINKED_SCHEMES = ("http:", "https:", "mailto:")
_TAGS = re.compile(
    r"<(script|style)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)|<[^<>]*>", re.DOTALL | re.IGNORECASE
)
_HEADINGS = {f"h{level}": f"h{min(level + 1, 6)}" for level in range(1, 7)}
"""The page itself has the one h1."""

_NOT_IN_ID = re.compile(r"[^\w\- ]")


def render_markdown(text: str) -> str:
    """Return the HTML of a text. 100 KB take 0.1 s, or 4 s if all is brackets."""
    html: str = _parser(_linkify_cost(text) <= _MAX_LINKIFY_COST).render(text)
    return html


def _linkify_cost(text: str) -> int:
    """Return about how many characters are looked at to find links: each may cost its line."""
    lines = text.split("\n")
    return sum(len(line) * (line.count(":") + line.count("//")) for line in lines)


@cache
def _parser(has_bare_links: bool) -> MarkdownIt:
    """Return the parser of GitHub's Markdown, which takes milliseconds to make.

    has_bare_links: whether "https://host/" is a link without a sign that it is one.
    """
    parser = MarkdownIt("gfm-like2", {"xhtmlOut": False, "linkify": has_bare_links})
    parser.validateLink = _is_safe_link  # type: ignore[method-assign]
    if parser.linkify is not None:
        parser.linkify.set({"fuzzy_link": False, "fuzzy_email": False})  # README.md is no host
    parser.core.ruler.push("page", _fit_to_page)
    return parser


def _is_safe_link(url: str) -> bool:
    """Tell whether a link may lead to a URL: one without a scheme, or a scheme that runs nothing.

    url: normalized, so that the control characters which browsers skip in a scheme are encoded.
    """
    scheme = _SCHEME.match(url)
    return scheme is None or scheme[0].lower() in _LINKED_SCHEMES


def _fit_to_page(state: StateCore) -> None:
    """Change what was parsed to what a page may contain, before it is rendered."""
    ids: Counter[str] = Counter()
    for index, token in enumerate(state.tokens):
        if token.type == "html_block":
            token.content = _text_of_tags(token.content)
        elif token.type == "inline":
            token.children = list(map(_fit_inline, token.children or ()))
        elif token.tag in _HEADINGS:
            if token.nesting == 1:
                token.attrSet("id", _heading_id(state.tokens[index + 1], ids))
            token.tag = _HEADINGS[token.tag]
        elif token.type in {"td_open", "th_open"}:
            _align_by_class(token)
        elif "checked" in token.meta:
            _sign_task(state.tokens, index)


def _fit_inline(token: Token) -> Token:
    """Leave out tags, and of a picture from elsewhere all but what it shows."""
    if token.type == "html_inline":
        return Token("text", "", 0)
    if token.type == "image" and not _is_on_this_site(str(token.attrs["src"])):
        return Token(
            "text", "", 0, content="".join(child.content for child in token.children or ())
        )
    return token


def _text_of(token: Token) -> str:
    return "".join(child.content for child in token.children or ())


def _is_on_this_site(url: str) -> bool:
    return not _SCHEME.match(url) and not url.startswith("//")


def _text_of_tags(html: str) -> str:
    """Return a paragraph with the text of a block of tags."""
    text = unescape(_TAGS.sub("", html)).strip()
    return f"<p>{escape(text)}</p>\n" if text else ""


def _heading_id(heading: Token, ids: Counter[str]) -> str:
    """Return the id that GitHub gives a heading. The page's own ids consist of other characters."""
    name = _NOT_IN_ID.sub("", _text_of(heading).lower()).replace(" ", "-") or "section"
    ids[name] += 1
    return name if ids[name] == 1 else f"{name}-{ids[name] - 1}"


def _align_by_class(cell: Token) -> None:
    """Replace the style of a table cell by a class: the page's policy allows no style."""
    style = str(cell.attrs.pop("style", ""))
    if style:
        cell.attrSet("class", style.removeprefix("text-align:"))


def _sign_task(tokens: Sequence[Token], index: int) -> None:
    """Write whether a task is done as a sign: a checkbox could not be used."""
    sign = "☑ " if tokens[index].meta.pop("checked") else "☐ "
    text = next((token for token in tokens[index + 1 : index + 3] if token.type == "inline"), None)
    if text is not None and text.children is not None:
        text.children.insert(0, Token("text", "", 0, content=sign))
