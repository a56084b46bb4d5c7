"""The options of the command line. Each is declared once: names, value, help, group, completion."""

from dataclasses import fields
from typing import Annotated, TypedDict

import typer

from aserve.cli import completion
from aserve.cli.declarations import declare, declare_flag
from aserve.cli.help import OTHER
from aserve.config.config_file import FILE_NAME
from aserve.config.settings import DEFAULT_PORT, Settings
from aserve.transport.registry import DEFAULT, MODELS
from aserve.version import __version__

_ADDRESS = "Address"
_TLS = "HTTPS"
_FILES = "Files"
_HEADERS = "Headers"
_PAGES = "Folder pages"
_URLS = "URLs and error pages"
_METHODS = "Methods"
_WRITING = "Writing"
_ACCESS = "Access"
_LIMITS = "Caching and limits"
_PROCESSES = "Processes and models"
_LOGGING = "Logging"
_CONFIGURATION = "Configuration"

_DEFAULTS = {field.name: field.default for field in fields(Settings)}


def _default(setting: str) -> str:
    return str(_DEFAULTS[setting])


def _default_threads() -> str:
    """Return how many threads models have, as "8, proactor 0"."""
    usual = MODELS[DEFAULT].default_threads
    others = {name: info.default_threads for name, info in MODELS.items()}
    unusual = (f"{name} {number}" for name, number in others.items() if number != usual)
    return ", ".join((str(usual), *unusual))


def _print_version(is_requested: bool) -> None:
    if is_requested:
        print(f"aserve {__version__}")
        raise typer.Exit


class SettingOptions(TypedDict, total=False):
    """The options that are fields of Settings, as text and by the names of the fields.

    Those that the user did not give are missing: Settings has the defaults.
    """

    host: Annotated[
        str,
        declare(
            _ADDRESS,
            "--host",
            value="ADDRESS",
            text="Listen here; 0.0.0.0 for all.",
            show_default=_default("host"),
            autocompletion=completion.hosts,
        ),
    ]
    allowed_hosts: Annotated[
        str,
        declare(
            _ADDRESS,
            "--allowed-hosts",
            value="LIST",
            text="Host names; any, local.",
            show_default="see below",
            autocompletion=completion.allowed_hosts,
        ),
    ]
    port: Annotated[
        str,
        declare(
            _ADDRESS,
            "--port",
            "-p",
            value="N",
            text="0 for any free port.",
            show_default=f"{DEFAULT_PORT} or next free",
        ),
    ]
    https: Annotated[
        bool, declare_flag(_TLS, "--https", text="TLS with a certificate for this machine.")
    ]
    cert: Annotated[
        list[str],
        declare(
            _TLS,
            "--cert",
            value="FILE",
            text="TLS with this certificate, PEM; repeatable.",
        ),
    ]
    key: Annotated[
        list[str],
        declare(_TLS, "--key", value="FILE", text="Its key, if it is in another file."),
    ]
    http_redirect: Annotated[
        str,
        declare(_TLS, "--http-redirect", value="PORT", text="Lead http there to https, as on 80."),
    ]
    hsts: Annotated[
        str,
        declare(
            _TLS,
            "--hsts",
            value="SECONDS",
            text="Have browsers use https alone.",
            show_default="off",
        ),
    ]
    charset: Annotated[
        str,
        declare(
            _FILES,
            "--charset",
            value="NAME|none",
            text="Charset of text, except XML.",
            show_default=_default("charset"),
            autocompletion=completion.charsets,
        ),
    ]
    types: Annotated[
        list[str],
        declare(
            _FILES,
            "--type",
            value="SUFFIX=TYPE",
            text="Media type of a suffix; repeatable.",
            autocompletion=completion.types,
        ),
    ]
    decode_slashes: Annotated[
        bool,
        declare_flag(_FILES, "--decode-slashes", text="Treat %2F in a path as a slash, for npm."),
    ]
    listing: Annotated[
        str,
        declare(
            _PAGES,
            "--listing",
            value="auto|on|off",
            text="List folders without index.",
            show_default=_default("listing"),
            autocompletion=completion.listings,
        ),
    ]
    page_size: Annotated[
        str,
        declare(
            _PAGES,
            "--page-size",
            value="N",
            text="Entries on one page.",
            show_default=_default("page_size"),
        ),
    ]
    readme: Annotated[
        bool, declare_flag(_PAGES, "--no-readme", text="Show no README with a folder.")
    ]
    hide: Annotated[
        list[str],
        declare(
            _PAGES,
            "--hide",
            value="GLOB",
            text="Hide names or paths; repeatable.",
            autocompletion=completion.hides,
        ),
    ]
    dotfiles: Annotated[
        bool, declare_flag(_PAGES, "--dotfiles", text="Show dotfiles, except keys.")
    ]
    symlinks: Annotated[
        str,
        declare(
            _PAGES,
            "--symlinks",
            value="inside|all|none",
            text="Links that are followed.",
            show_default=_default("symlinks"),
            autocompletion=completion.symlinks,
        ),
    ]
    linked_root: Annotated[
        str,
        declare(
            _FILES,
            "--linked-root",
            value="NAME",
            text="Links to DIR: follow, or reload.",
            show_default=_default("linked_root"),
            autocompletion=completion.linked_roots,
        ),
    ]
    title: Annotated[
        str, declare(_PAGES, "--title", value="TEXT", text="Name of the site on its pages.")
    ]
    archive: Annotated[
        str,
        declare(
            _PAGES,
            "--archive",
            value="LIST|off",
            text=f"Archives: {','.join(_DEFAULTS['archive'])}.",
            show_default="all",
            autocompletion=completion.archives,
        ),
    ]
    index: Annotated[
        str,
        declare(
            _URLS,
            "--index",
            value="NAME,...",
            text="Index files, in order.",
            show_default=",".join(_DEFAULTS["index"]),
        ),
    ]
    urls: Annotated[
        str,
        declare(
            _URLS,
            "--urls",
            value="NAME",
            text="Whose URLs pages have; see below.",
            show_default=_default("urls"),
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
            show_default=_default("rules"),
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
            show_default=_default("rules_dialect"),
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
            show_default=_default("cache"),
            autocompletion=completion.caching,
        ),
    ]
    compress: Annotated[
        str,
        declare(
            _FILES,
            "--compress",
            value="NAME",
            text="auto, siblings alone, or off.",
            show_default=_default("compress"),
            autocompletion=completion.compressions,
        ),
    ]
    compress_folder: Annotated[
        str,
        declare(
            _FILES,
            "--compress-folder",
            value="DIR",
            text="Compressed files on disk.",
        ),
    ]
    etag: Annotated[
        str,
        declare(
            _HEADERS,
            "--etag",
            value="stat|content|off",
            text="What entity tags are made of.",
            show_default=_default("etag"),
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
    live: Annotated[bool, declare_flag(_FILES, "--live", text="Reload pages when a file changes.")]
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
    write: Annotated[
        list[str],
        declare(
            _WRITING,
            "--write",
            value="[=PATH]",
            text="Let clients change files, there; see below.",
            autocompletion=completion.write_areas,
        ),
    ]
    on_conflict: Annotated[
        str,
        declare(
            _WRITING,
            "--on-conflict",
            value="NAME",
            text="error, replace or rename a file.",
            show_default=_default("on_conflict"),
            autocompletion=completion.conflicts,
        ),
    ]
    max_upload: Annotated[
        str,
        declare(
            _WRITING,
            "--max-upload",
            value="SIZE",
            text="Most bytes of an upload.",
            show_default="unlimited",
        ),
    ]
    quota: Annotated[
        str,
        declare(
            _WRITING,
            "--quota",
            value="SIZE",
            text="Most bytes of all files.",
            show_default="unlimited",
        ),
    ]
    min_free: Annotated[
        str,
        declare(
            _WRITING,
            "--min-free",
            value="SIZE",
            text="Bytes of the disk that stay free.",
            show_default=f"{_DEFAULTS['min_free'] >> 20}M",
        ),
    ]
    fsync: Annotated[
        bool,
        declare_flag(_WRITING, "--no-fsync", text="Do not wait until uploads are on the disk."),
    ]
    auth: Annotated[
        list[str],
        declare(
            _ACCESS,
            "--auth",
            value="USER:PASSWORD",
            text="Ask for a login; repeatable.",
        ),
    ]
    htpasswd: Annotated[
        str,
        declare(
            _ACCESS,
            "--htpasswd",
            value="FILE",
            text="Logins; see aserve passwd.",
        ),
    ]
    readers: Annotated[
        str,
        declare(
            _ACCESS,
            "--readers",
            value="LIST",
            text="Who may read; see below.",
            autocompletion=completion.groups,
        ),
    ]
    writers: Annotated[
        str,
        declare(
            _ACCESS,
            "--writers",
            value="LIST",
            text="Who may change files.",
            autocompletion=completion.groups,
        ),
    ]
    allow: Annotated[
        list[str],
        declare(
            _ACCESS,
            "--allow",
            value="NETWORK",
            text="Serve no other clients; repeatable.",
            autocompletion=completion.networks,
        ),
    ]
    deny: Annotated[
        list[str],
        declare(
            _ACCESS,
            "--deny",
            value="NETWORK",
            text="Do not serve these; repeatable.",
            autocompletion=completion.networks,
        ),
    ]
    response_cache: Annotated[
        str,
        declare(
            _LIMITS,
            "--response-cache",
            value="SIZE|off",
            text="Memory for responses, per worker.",
            show_default=f"{_DEFAULTS['response_cache'] >> 20}M",
            autocompletion=completion.cache_sizes,
        ),
    ]
    compress_memory: Annotated[
        str,
        declare(
            _LIMITS,
            "--compress-memory",
            value="SIZE|off",
            text="Memory for compressed files.",
            show_default=f"{_DEFAULTS['compress_memory'] >> 20}M",
            autocompletion=completion.cache_sizes,
        ),
    ]
    archive_max_bytes: Annotated[
        str,
        declare(
            _LIMITS,
            "--archive-max-bytes",
            value="SIZE",
            text="Most bytes of an archive.",
            show_default=f"{_DEFAULTS['archive_max_bytes'] >> 30}G",
        ),
    ]
    archive_max_files: Annotated[
        str,
        declare(
            _LIMITS,
            "--archive-max-files",
            value="N",
            text="Most files in an archive.",
            show_default=_default("archive_max_files"),
        ),
    ]
    limits: Annotated[
        list[str],
        declare(
            _LIMITS,
            "--limit",
            value="NAME=N",
            text="Change one of the limits below; repeatable.",
            autocompletion=completion.limits,
        ),
    ]
    workers: Annotated[
        str,
        declare(
            _PROCESSES,
            "--workers",
            "-w",
            value="N|auto",
            text="Processes; auto: one per CPU.",
            show_default=_default("workers"),
            autocompletion=completion.workers,
        ),
    ]
    model: Annotated[
        str,
        declare(
            _PROCESSES,
            "--model",
            value="NAME",
            text="I/O model.",
            show_default=_default("model"),
            autocompletion=completion.models,
        ),
    ]
    by_the_book: Annotated[
        bool,
        declare_flag(
            _PROCESSES, "--by-the-book", text="Take each step of the model as textbooks do."
        ),
    ]
    threads: Annotated[
        str,
        declare(
            _PROCESSES,
            "--threads",
            value="N",
            text="Threads of each pool.",
            show_default=_default_threads(),
        ),
    ]
    dispatch: Annotated[
        str,
        declare(
            _PROCESSES,
            "--dispatch",
            value="NAME",
            text="How jobs go to these threads.",
            show_default=_default("dispatch"),
            autocompletion=completion.dispatches,
        ),
    ]


class CommandOptions(SettingOptions, total=False):
    """All options of a command that has the settings: also what is no setting of a server.

    What of it can be in a file is named in aserve/config/kinds.py as well.
    """

    open: Annotated[
        bool, declare_flag(_ADDRESS, "--open", "-o", text="Open the site in the browser.")
    ]
    access_log: Annotated[
        str,
        declare(
            _LOGGING,
            "--access-log",
            value="FILE|-|off",
            text="Log requests there.",
            show_default="only on a terminal",
            autocompletion=completion.access_logs,
        ),
    ]
    quiet: Annotated[
        bool, declare_flag(_LOGGING, "--quiet", "-q", text="Print nothing but errors.")
    ]
    config: Annotated[
        str,
        declare(
            _CONFIGURATION,
            "--config",
            value="FILE|off",
            text="Read options there.",
            show_default=FILE_NAME,
        ),
    ]
    watch_config: Annotated[
        bool,
        declare_flag(
            _CONFIGURATION, "--watch-config", text="Reload when the configuration file changes."
        ),
    ]


Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DIR",
        rich_help_panel="Arguments",
        help="Directories, NAME=DIR, or a file.",
        show_default=".",
        autocompletion=completion.paths,
    ),
]
Version = Annotated[
    bool,
    declare(
        OTHER,
        "--version",
        "-V",
        text="Print the version and exit.",
        callback=_print_version,
        is_eager=True,
    ),
]
