"""Options about what is answered: URLs, headers, methods."""

from typing import Annotated, TypedDict

from aserve.cli import completion
from aserve.cli.declarations import declare, declare_flag
from aserve.cli.options.defaults import DEFAULTS, default

_URLS = "URLs and error pages"
_HEADERS = "Headers"
_METHODS = "Methods"


class UrlOptions(TypedDict, total=False):
    """The options, as text, by the names of settings."""

    index: Annotated[
        str,
        declare(
            _URLS,
            "--index",
            value="NAME,...",
            text="Index files, in order.",
            show_default=",".join(DEFAULTS["index"]),
        ),
    ]
    urls: Annotated[
        str,
        declare(
            _URLS,
            "--urls",
            value="NAME",
            text="Whose URLs pages have; see below.",
            show_default=default("urls"),
            autocompletion=completion.url_conventions,
        ),
    ]
    spa: Annotated[
        str,
        declare(_URLS, "--spa", value="[=FILE]", text="Single-page app: the page of its routes."),
    ]
    error_page: Annotated[
        list[str],
        declare(
            _URLS,
            "--error-page",
            value="STATUS=FILE",
            text="Page for errors; repeatable.",
            show_default="404.html",
            autocompletion=completion.error_pages,
        ),
    ]
    redirects: Annotated[
        list[str],
        declare(
            _URLS,
            "--redirect",
            value="RULE",
            text="As a line of _redirects; repeatable.",
            autocompletion=completion.redirects,
        ),
    ]
    rules: Annotated[
        str,
        declare(
            _URLS,
            "--rules",
            value="auto|off",
            text="Follow _headers and _redirects.",
            show_default=default("rules"),
            autocompletion=completion.rules,
        ),
    ]
    rules_dialect: Annotated[
        str,
        declare(
            _URLS,
            "--rules-dialect",
            value="NAME",
            text="Whose: netlify or cloudflare.",
            show_default=default("rules_dialect"),
            autocompletion=completion.rules_dialects,
        ),
    ]
    strict_rules: Annotated[
        bool, declare_flag(_URLS, "--strict-rules", text="Stop at a rule that cannot be followed.")
    ]
    headers: Annotated[
        list[str],
        declare(
            _HEADERS,
            "--header",
            value="RULE",
            text="Headers by path, see below; repeatable.",
            autocompletion=completion.headers,
        ),
    ]
    cache: Annotated[
        str,
        declare(
            _HEADERS,
            "--cache",
            value="NAME|SECONDS",
            text="auto, no-cache, no-store, seconds.",
            show_default=default("cache"),
            autocompletion=completion.caching,
        ),
    ]
    etag: Annotated[
        str,
        declare(
            _HEADERS,
            "--etag",
            value="stat|content|off",
            text="What entity tags are made of.",
            show_default=default("etag"),
            autocompletion=completion.entity_tags,
        ),
    ]
    cors: Annotated[
        str,
        declare(
            _HEADERS,
            "--cors",
            value="[=ORIGIN,...]",
            text="Pages of other sites may read.",
            autocompletion=completion.origins,
        ),
    ]
    security_headers: Annotated[
        bool,
        declare_flag(_HEADERS, "--security-headers", text="No foreign frames, no guessed types."),
    ]
    isolate: Annotated[
        bool, declare_flag(_HEADERS, "--isolate", text="Isolate pages, for SharedArrayBuffer.")
    ]
    server_header: Annotated[
        bool, declare_flag(_HEADERS, "--no-server-header", text="Do not name the software.")
    ]
    allow_trace: Annotated[
        bool, declare_flag(_METHODS, "--allow-trace", text="Answer TRACE: echo the request.")
    ]
    dav: Annotated[
        bool, declare_flag(_METHODS, "--dav", text="Answer PROPFIND: let WebDAV clients read.")
    ]
    allow_connect: Annotated[
        list[str],
        declare(
            _METHODS,
            "--allow-connect",
            value="HOST:PORT",
            text="Let CONNECT open tunnels there; repeatable.",
        ),
    ]
