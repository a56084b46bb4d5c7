"""All settings, validated once, before anything starts."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from aserve.access.logins import Logins
from aserve.access.networks import network_error
from aserve.access.rights import AccessRules, Rights
from aserve.arguments import checks_names, wrong_types
from aserve.config.access import (
    check_logins,
    is_open_to_all,
    names_error,
    read_password_file,
    rights_of,
    user_of,
)
from aserve.config.compression import (
    COMPRESS,
    COMPRESS_MEMORY,
    MIN_COMPRESS_MEMORY,
    folder_error,
)
from aserve.config.headers import (
    CACHE,
    ETAGS,
    HeaderTable,
    cache_error,
    cors_error,
    handlers_error,
    parse_header_rules,
)
from aserve.config.names import DEFAULT_PLACE, ItemError, NamedSettingError, Sources, item_of
from aserve.config.pages import (
    NO_PAGES,
    is_file_name,
    parse_error_page,
    parse_error_pages,
    parse_page,
)
from aserve.config.root import Root, as_root, check_root, printable, without_links
from aserve.config.tls import (
    certifiable_hosts,
    certificate_errors,
    given_certificates,
    local_certificates,
    tls_errors,
)
from aserve.config.virtual_hosts import (
    ANY_HOST,
    LINKED_ROOTS,
    LOCAL_HOSTS,
    OF_A_ROOT,
    PathSettings,
    VirtualHost,
    host_error,
    taken_hosts,
)
from aserve.config.writing import CONFLICTS, MIN_FREE, check_areas
from aserve.filesystem.rule_files import format_problems, read_rules
from aserve.filesystem.visibility import MAX_GLOBS, Symlinks, Visibility, hide_error
from aserve.handlers.archive.formats import (
    FORMATS,
    MAX_BYTES,
    MAX_FILES,
    NEEDS_ZSTD,
    is_available,
)
from aserve.handlers.clean_urls import CONVENTIONS
from aserve.handlers.handler import Handler
from aserve.handlers.listing.limits import MAX_PAGE_SIZE, PAGE_SIZE
from aserve.handlers.writing.areas import WriteArea, parse_area
from aserve.http.media_types import MediaTypes, is_charset, parse_added_type
from aserve.http.request_target import TargetPath, parse_host_port
from aserve.http1.limits import UNLIMITED, Limits
from aserve.rules.dialects import DIALECTS, NETLIFY, Dialect, find_dialect
from aserve.rules.redirects_file import Redirect
from aserve.rules.site_rules import LineError, SiteRules, parse_lines
from aserve.transport.registry import (
    BY_THE_BOOK,
    DEFAULT,
    DISPATCHES,
    MODELS,
    ModelInfo,
    find_model,
)

if TYPE_CHECKING:
    from aserve.tls.certificates import CertificateFiles

T = TypeVar("T")

DEFAULT_HOST = "localhost"
"""Both loopback addresses, 127.0.0.1 and ::1: browsers may try either of them first."""
DEFAULT_PORT = 8000
MAX_THREADS = 512
MAX_WORKERS = 1_024
MAX_GRACE = 86_400
RULES = ("auto", "off")
LISTINGS = ("auto", "on", "off")
RESPONSE_CACHE_SIZE = 64 << 20  # bytes
MIN_RESPONSE_CACHE_SIZE = 1 << 20
_OF_WRITING = ("on_conflict", "max_upload", "quota", "min_free", "fsync")
_PATHS_OF_NO_ROOT = "has settings for paths of the root, and there is no root beside the sites"
PLAIN_URLS = "plain"
"""Of urls: each URL is the path of a file, and no other."""


class SettingsError(NamedSettingError, ValueError):
    """A setting that cannot work. `setting` is its name, `reason` what is wrong with it."""


class _PlacedError(SettingsError):
    """An error of which the place in a file is known already: `setting` is that place."""


@checks_names("setting")
@dataclass(frozen=True, slots=True)
class Settings:
    """What to serve, where, and how.

    Raises SettingsError for a value that cannot work, and TypeError for a name that is no setting.
    """

    root: Root
    """The directory or file to serve, or several by their names in URLs."""
    host: str = DEFAULT_HOST
    """A name or an address; the server listens on all addresses of the name."""
    port: int | None = None
    """None for 8000 or the next free one, 0 for any free one."""
    workers: int = 1
    """How many processes serve."""
    threads: int | None = None
    """The size of each worker's thread pool; None for 8, or 0 where a model can do without."""
    queue: int = 1_024
    """How many more requests may wait for the pool; the next one gets 503."""
    grace: float = 8.0
    """What responses in progress get when the server stops."""
    allow_trace: bool = False
    """Whether TRACE is answered."""
    allow_connect: tuple[str, ...] = ()
    """Each "host:port" that CONNECT may open a tunnel to."""
    response_cache: int = RESPONSE_CACHE_SIZE
    """Memory for cached responses, 0 for no cache."""
    charset: str = "utf-8"
    """The character encoding of text types, "none" for none."""
    types: tuple[str, ...] = ()
    """Each "suffix=type" that replaces or adds a media type."""
    decode_slashes: bool = False
    """Whether %2F in a path separates names, as npm's clients expect."""
    index: tuple[str, ...] = ("index.html",)
    """Names of the file that a directory is answered with: the first that is there."""
    urls: str = PLAIN_URLS
    """Whose URLs pages have: those of a static host, or plain."""
    spa: str = ""
    """The page that navigations get where nothing is found, "" for none."""
    error_page: tuple[str, ...] = ()
    """Each "status=path" of a page for errors; ("off",) for no 404.html either."""
    redirects: tuple[str, ...] = ()
    """Redirects and rewrites, each a line of _redirects, as "/old /new 301"; before those of the
    file."""
    rules: str = RULES[0]
    """Whether the files _headers and _redirects of the site are followed: auto, if they are there;
    or off."""
    rules_dialect: str = NETLIFY
    """Whose rules they are: netlify or cloudflare."""
    strict_rules: bool = False
    """Whether a line that cannot be followed is an error."""
    server_header: bool = True
    """Whether responses name the software."""
    headers: tuple[str, ...] | HeaderTable = ()
    """Headers by path: each "/docs/* Name: value", or a mapping of mappings; without a value,
    the header is removed."""
    cache: str | int = CACHE[0]
    """How long files may be used without asking: auto, a year those whose names have a hash of
    them, others never; a number of seconds; no-cache; no-store."""
    cors: tuple[str, ...] = ()
    """Origins whose pages may read responses, "*" for all; "https://*.app.test" is any subdomain.
    Those that are named may write as well, where clients may."""
    isolate: bool = False
    """Whether pages are isolated from other sites, as SharedArrayBuffer needs it."""
    security_headers: bool = False
    """Whether browsers are told not to guess types, nor to show pages in frames of other sites."""
    compress: str = COMPRESS[0]
    """Whether responses are compressed: auto, by a compressed sibling of the file, or while they
    are served; siblings, by siblings alone; off, none is."""
    compress_memory: int = COMPRESS_MEMORY
    """Memory for what was compressed, 0 for none: then files are not compressed."""
    compress_folder: str = ""
    """A folder of its own for what was compressed at the best level, which a restart finds again;
    "" for none."""
    etag: str = ETAGS[0]
    """What entity tags are made of: stat, the state of a file; content, a hash of it, which copies
    on other machines share; off, there are none."""
    handlers: Mapping[str, Handler] | None = None
    """What a program answers itself: handlers by paths, as "/now" or "/api/*"."""
    listing: str = LISTINGS[0]
    """Whether directories are listed: auto, those without an index; on, any other, too, where
    `?format=` asks for it; off, none."""
    page_size: int = PAGE_SIZE
    """How many entries of a directory are on one page."""
    readme: bool = True
    """Whether a directory's README is shown below its entries, and its HEADER.md above."""
    hide: tuple[str, ...] = ()
    """Globs of what is hidden: of names, or with a slash of paths from the root."""
    dotfiles: bool = False
    """Whether names that begin with a dot are visible; keys and the like never are."""
    symlinks: str = Symlinks.INSIDE.value
    """Which links are followed: inside, those that stay in the directory; all; none."""
    title: str = ""
    """The name of the site on its pages, "" for none."""
    archive: tuple[str, ...] = tuple(FORMATS)
    """Formats of archives of directories, () for none; tar.zst only where Python can make it."""
    archive_max_bytes: int = MAX_BYTES
    """More in the files of an archive: 413."""
    archive_max_files: int = MAX_FILES
    """More files and directories in an archive: 413."""
    dav: bool = False
    """Whether WebDAV clients can read all that is visible, by PROPFIND."""
    live: bool = False
    """Whether pages reload when a file changes."""
    write: tuple[str, ...] = ()
    """Where clients may change files: "/" everywhere, "/in" below that path, "add" or "add:/in"
    new names only; () nowhere."""
    on_conflict: str = CONFLICTS[0]
    """What a POST does where a file of its name is: error, replace or rename."""
    max_upload: int = UNLIMITED
    """A larger file: 413."""
    quota: int = UNLIMITED
    """More in all files of a directory that can be written to: 507."""
    min_free: int = MIN_FREE
    """Less free on the disk, after an upload: 507."""
    fsync: bool = True
    """Whether an upload is on the disk, and not only in memory, before it is answered."""
    auth: tuple[str, ...] = field(default=(), repr=False)
    """Users and their passwords, each "user:password" or "user:hash"."""
    htpasswd: str = ""
    """A file with users and hashes of their passwords, of bcrypt or argon2id; "" for none."""
    readers: tuple[str, ...] = ()
    """Who may read: names of users, or "users", "anyone" or "nobody"; () is all users if there are
    any, or else anyone."""
    writers: tuple[str, ...] = ()
    """Who may change files, where they may be changed at all; as for readers."""
    allow: tuple[str, ...] = ()
    """Networks such as "10.0.0.0/8", or addresses: if there are any, others are not served."""
    deny: tuple[str, ...] = ()
    """Networks or addresses of clients that are not served, also if they are in allow."""
    model: str = DEFAULT
    """The name of an I/O model."""
    by_the_book: bool = False
    """Whether the model takes each step as textbooks number them."""
    cert: tuple[str, ...] = ()
    """Files with certificates and their chains, in PEM: the server speaks TLS. Clients get the one
    with the name that they ask for, or the first."""
    key: tuple[str, ...] = ()
    """Files with the keys of these, in the same order; () where each is in the file of its
    certificate."""
    https: bool = False
    """Whether the server speaks TLS with a certificate of its own authority, for this machine."""
    http_redirect: int | None = None
    """A second port, whose clients are led from http to https; None for none."""
    hsts: int = 0
    """For how many seconds browsers are told to use https alone, 0 for not at all."""
    dispatch: str = DISPATCHES[0]
    """How a model gives jobs to its threads: queue, round-robin, random or least-loaded."""
    limits: Limits = field(default_factory=Limits)
    """Limits on what clients may send and hold."""
    linked_root: str = LINKED_ROOTS[0]
    """When the server notices that a link to a root has changed: follow, at once; reload, with
    the next reload."""
    allowed_hosts: tuple[str, ...] = (ANY_HOST,)
    """Names that the root is served under, besides localhost, addresses and those of this machine:
    ("local",) for no others, ("any",) for all."""
    sites: tuple[VirtualHost, ...] = ()
    """Other sites, by their hosts; the root is for all other hosts, {} for none of them."""
    paths: tuple[PathSettings, ...] = ()
    """Settings of some paths: the first whose glob matches."""
    htpasswd_lines: tuple[str, ...] = field(default=(), repr=False)
    """What was read from the file of htpasswd, which is read once for each Settings."""
    sources: Sources = field(default_factory=dict, compare=False, repr=False)
    """Where values were set, by the names of settings: an option, a variable, a line of a file."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", checked_root(as_root, self.root))
        for name, reason in wrong_types(self):
            raise SettingsError(name, reason)
        self._check_root()
        _check_choice("linked_root", self.linked_root, LINKED_ROOTS)
        if self.linked_root != LINKED_ROOTS[0]:
            object.__setattr__(self, "root", without_links(self.root))
        self._check_names()
        self._check_pages()
        self._check_rules()
        self._check_headers()
        self._check_compression()
        self._check_listing()
        self._check_archive()
        self._check_writing()
        self._check_access()
        self._check_model()
        if self.threads is None:
            object.__setattr__(self, "threads", self.model_info.default_threads)
        self._check_ranges()
        self._check_tls()
        self._check_hosts()
        self._bind_sites()
        self._bind_paths()

    def _check_root(self) -> None:
        try:
            object.__setattr__(self, "root", checked_root(check_root, self.root))
        except ItemError as error:
            raise SettingsError(self._item("root", error.index), str(error)) from error.__cause__

    def _check_ranges(self) -> None:
        _check_range("port", self.port or 0, 0, 65_535)
        _check_range("workers", self.workers, 1, MAX_WORKERS)
        least = min(1, self.model_info.default_threads)
        _check_range("threads", self.threads or 0, least, MAX_THREADS)
        _check_range("grace", self.grace, 0, MAX_GRACE)
        _require(self.queue >= 0, "queue", "must be at least 0")
        size = self.response_cache
        is_valid = size == 0 or size >= MIN_RESPONSE_CACHE_SIZE
        _require(is_valid, "response_cache", "must be 0, for no cache, or at least 1M (1,048,576)")

    def _check_names(self) -> None:
        _require(bool(self.host), "host", "must not be empty")
        detail = f"must be the name of a character encoding, or none, not {self.charset!r}"
        _require(is_charset(self.charset), "charset", detail)
        for item, address in self._items("allow_connect"):
            is_valid = parse_host_port(address) is not None
            _require(is_valid, item, f"must be HOST:PORT, not {address!r}")
        for item, added in self._items("types"):
            detail = f"must be SUFFIX=TYPE, as in srt=text/plain, not {added!r}"
            _require(parse_added_type(added) is not None, item, detail)

    def _check_pages(self) -> None:
        _require(bool(self.index), "index", "must name at least one file")
        for item, name in self._items("index"):
            _require(is_file_name(name), item, f"must be the name of a file, not {name!r}")
        _check_choice("urls", self.urls, (PLAIN_URLS, *CONVENTIONS))
        detail = f"must be the path of a file beneath the root, not {self.spa!r}"
        _require(not self.spa or parse_page(self.spa) is not None, "spa", detail)
        for item, page in self._items("error_page") if self.error_page != (NO_PAGES,) else ():
            detail = f"must be STATUS=PATH, as in 404=missing.html or 5xx=broken.html, not {page!r}"
            _require(bool(parse_error_page(page)), item, detail)

    def _check_rules(self) -> None:
        _check_choice("rules", self.rules, RULES)
        _check_choice("rules_dialect", self.rules_dialect, DIALECTS)
        try:
            _ = self.own_redirects
        except LineError as error:
            reason = f"{error}: {self.redirects[error.number]!r}"
            raise SettingsError(self._item("redirects", error.number), reason) from None
        if self.strict_rules and (problems := self.read_rules().problems):
            raise SettingsError("strict_rules", "; ".join(format_problems(problems)))

    def _check_headers(self) -> None:
        try:
            parse_header_rules(self.headers)
        except ItemError as error:
            raise SettingsError(self._item("headers", error.index), str(error)) from None
        for setting, reason in (
            ("cache", cache_error(self.cache)),
            ("cors", cors_error(self.cors)),
            ("handlers", handlers_error(self.handlers or {})),
        ):
            _require(not reason, setting, reason)
        _check_choice("etag", self.etag, ETAGS)
        is_valid = self.etag != "content" or not self.write
        detail = "content is for files that only the server's owner changes, not for write"
        _require(is_valid, "etag", detail)

    def _check_compression(self) -> None:
        _check_choice("compress", self.compress, COMPRESS)
        is_valid = self.compress_memory == 0 or self.compress_memory >= MIN_COMPRESS_MEMORY
        detail = f"must be 0, for none, or at least 1M ({MIN_COMPRESS_MEMORY:,})"
        _require(is_valid, "compress_memory", detail)
        if self.compress_folder:
            roots = [self.root] if isinstance(self.root, Path) else self.root.values()
            reason = folder_error(Path(self.compress_folder), roots)
            _require(not reason, "compress_folder", reason)

    def _check_listing(self) -> None:
        _check_choice("listing", self.listing, LISTINGS)
        _check_range("page_size", self.page_size, 1, MAX_PAGE_SIZE)
        _check_choice("symlinks", self.symlinks, [one.value for one in Symlinks])
        detail = f"at most {MAX_GLOBS:,} globs, all of which are tried for each path"
        _require(len(self.hide) <= MAX_GLOBS, "hide", detail)
        for item, glob in self._items("hide"):
            reason = hide_error(glob)
            _require(not reason, item, f"{reason}: {glob!r}")

    def _check_archive(self) -> None:
        for item, name in self._items("archive"):
            _check_choice(item, name, FORMATS)
            is_valid = is_available(name) or self.archive == tuple(FORMATS)
            _require(is_valid, item, NEEDS_ZSTD)
        _require(self.archive_max_bytes >= 1, "archive_max_bytes", "must be at least 1")
        _require(self.archive_max_files >= 1, "archive_max_files", "must be at least 1")

    def _check_writing(self) -> None:
        _check_choice("on_conflict", self.on_conflict, CONFLICTS)
        _require(self.max_upload >= 1, "max_upload", "must be at least 1")
        _require(self.quota >= 1, "quota", "must be at least 1")
        _require(self.min_free >= 0, "min_free", "must be at least 0")
        for setting, reason in check_areas(self.write, self.root):
            raise SettingsError(setting, reason)
        for setting in () if self.write else _OF_WRITING:
            is_default = getattr(self, setting) == type(self).__dataclass_fields__[setting].default
            _require(is_default, setting, "has no effect where nothing can be written to")

    def _check_access(self) -> None:
        for item, reason in check_logins(self._items("auth")):
            raise SettingsError(item, reason)
        lines: tuple[str, ...] = ()
        if self.htpasswd:
            file = Path(self.htpasswd)
            try:
                lines = read_password_file(file, self.auth, self.root, self.visibility)
            except ValueError as error:
                raise SettingsError("htpasswd", str(error)) from None
        object.__setattr__(self, "htpasswd_lines", lines)
        for setting in ("allow", "deny"):
            for item, text in self._items(setting):
                reason = network_error(text)
                _require(not reason, item, reason)
        for setting in ("readers", "writers") if self.root else ():
            reason = names_error(getattr(self, setting), self.users)
            _require(not reason, setting, reason)

    def _check_model(self) -> None:
        _check_choice("dispatch", self.dispatch, DISPATCHES)
        _check_choice("model", self.model, MODELS)
        is_valid = self.model in BY_THE_BOOK or not self.by_the_book
        detail = f"{self.model} has one form only; for {', '.join(BY_THE_BOOK)}"
        _require(is_valid, "by_the_book", detail)
        reason = self.model_info.unavailable_reason()
        _require(not reason, "model", f"{self.model} is not available: {reason}")
        is_valid = self.workers > 1 or not self.model_info.shares_listeners
        _require(is_valid, "workers", f"the model {self.model} needs at least 2")
        is_valid = self.model_info.uses_event_loop or not self.allow_connect
        _require(is_valid, "allow_connect", f"{self.described_model} has no tunnels")
        is_valid = self.model_info.uses_event_loop or not self.live
        _require(is_valid, "live", f"{self.described_model} has no live reload")
        _require(
            self.workers == 1 or not self.live, "live", f"needs one worker, not {self.workers}"
        )

    def _check_tls(self) -> None:
        for setting, reason in tls_errors(self):
            raise SettingsError(setting, reason)
        roots = [self.root] if isinstance(self.root, Path) else list(self.root.values())
        given = given_certificates(self.cert, self.key)
        for setting, index, reason in certificate_errors(given, roots):
            raise SettingsError(self._item(setting, index), reason)

    def _check_hosts(self) -> None:
        _require(bool(self.allowed_hosts), "allowed_hosts", "must not be empty: any is every host")
        for item, host in self._items("allowed_hosts"):
            reason = host not in {ANY_HOST, LOCAL_HOSTS} and host_error(host)
            _require(not reason, item, str(reason))
        is_valid = self.allowed_hosts == (ANY_HOST,) or ANY_HOST not in self.allowed_hosts
        _require(is_valid, "allowed_hosts", "any is every host, so that no other can be named")
        _require(bool(self.sites or self.root), "root", "must name at least one directory")
        _require(bool(self.root) or not self.paths, "paths", _PATHS_OF_NO_ROOT)

    def _bind_sites(self) -> None:
        """Find the settings of each site; raises SettingsError for what is wrong with them."""
        defaults = {name: type(self).__dataclass_fields__[name].default for name in OF_A_ROOT}
        kept = {
            name: source
            for name, source in self.sources.items()
            if name.partition("[")[0] not in defaults
        }
        fixed = defaults | {"sites": (), "sources": kept}
        bound = tuple(one.bound(self._changed("sites", one, fixed)) for one in self.sites)
        for site, reason in taken_hosts(bound):
            raise _error_in("sites", site, "hosts", reason)
        object.__setattr__(self, "sites", bound)

    def _bind_paths(self) -> None:
        """Find the settings of each path; raises SettingsError for what is wrong with them."""
        fixed = {"sources": self.sources}
        bound = tuple(one.bound(self._changed("paths", one, fixed)) for one in self.paths)
        object.__setattr__(self, "paths", bound)

    def _changed(
        self, kind: str, one: VirtualHost | PathSettings, fixed: Mapping[str, Any]
    ) -> "Settings":
        for setting, reason in one.wrong():
            raise _error_in(kind, one, setting, reason)
        sources = {**fixed["sources"], **one.sources}
        try:
            return replace(self, **{**fixed, **one.own_settings, **one.changes, "sources": sources})
        except _PlacedError:
            raise
        except SettingsError as error:
            raise _error_in(kind, one, error.setting, error.reason) from error

    def _items(self, setting: str) -> Iterator[tuple[str, str]]:
        """Yield each of the values of a setting, with the name of the place where it was set."""
        for index, value in enumerate(getattr(self, setting)):
            yield self._item(setting, index), value

    def _item(self, setting: str, index: int) -> str:
        """Return what an error about one value names: the setting, unless a file has its line."""
        item = item_of(setting, index)
        return item if item in self.sources else setting

    def place_of(self, setting: str, index: int | str = "") -> str:
        """Return where a setting was set, as "aserve.toml:12" or "--cors", or "default".

        index: of one of its values, where it has several: a file may have each on its own line.
        """
        source = self.sources.get(item_of(setting, index)) or self.sources.get(setting)
        return source.place if source else DEFAULT_PLACE

    @property
    def every_site(self) -> "tuple[Settings, ...]":
        """The settings of each site: of the root for all other hosts first, if there is one."""
        own = (self,) if self.root else ()
        return *own, *(site.settings for site in self.sites)

    @property
    def certificate_files(self) -> "tuple[CertificateFiles, ...]":
        """The certificates that are presented, each with its key."""
        return local_certificates(self) if self.https else given_certificates(self.cert, self.key)

    @property
    def named_hosts(self) -> tuple[str, ...]:
        """The hosts that settings name, besides those that are addresses or any."""
        named = (
            self.host,
            *self.allowed_hosts,
            *(one for site in self.sites for one in site.hosts),
        )
        return certifiable_hosts(named)

    @property
    def has_tls(self) -> bool:
        """Whether the server speaks TLS."""
        return self.https or bool(self.cert)

    @property
    def scheme(self) -> str:
        """That of its URLs."""
        return "https" if self.has_tls else "http"

    @property
    def visibility(self) -> Visibility:
        """What can be seen at all."""
        return _visibility(self.hide, self.symlinks, dotfiles=self.dotfiles)

    def read_rules(self) -> SiteRules:
        """Return the rules of the site as its files are now."""
        return read_rules(self.rules_root, self.dialect, self.own_redirects)

    @property
    def own_redirects(self) -> tuple[Redirect, ...]:
        """The redirects of settings; raises LineError for a line that is none."""
        return tuple(
            rule._replace(place=self.place_of("redirects", index))
            for index, rule in enumerate(parse_lines(self.redirects, self.dialect))
        )

    @property
    def dialect(self) -> Dialect:
        """How the files of rules are read."""
        convention = CONVENTIONS.get(self.urls)
        hides_index = convention is not None and convention.hides_names
        return find_dialect(self.rules_dialect, hides_index=hides_index)

    @property
    def rules_root(self) -> bytes:
        """The directory with the files of rules, b"" for none."""
        root = self.root if isinstance(self.root, Path) else self.root.get("")
        return os.fsencode(root) if root and self.rules != "off" else b""

    @property
    def described_model(self) -> str:
        """Return the model in words: it may have another form, which can do other things."""
        form = " by the book" if self.by_the_book else ""
        return f"the model {self.model}{form}"

    @property
    def model_info(self) -> ModelInfo:
        """The I/O model."""
        return find_model(self.model, by_the_book=self.by_the_book)

    @property
    def media_types(self) -> MediaTypes:
        """The media type of each file, with the types that were added."""
        return _media_types(self.types, self.charset)

    @property
    def write_areas(self) -> tuple[WriteArea, ...]:
        """Where clients may change files."""
        return tuple(filter(None, map(parse_area, self.write)))

    @property
    def users(self) -> frozenset[str]:
        """The names of the users of the site."""
        return frozenset(map(user_of, (*self.auth, *self.htpasswd_lines)))

    @property
    def logins(self) -> Logins | None:
        """The users of the site with their passwords, None for none."""
        texts = (*self.auth, *self.htpasswd_lines)
        return Logins(texts) if texts else None

    @property
    def rights(self) -> Rights:
        """Who may read and write what these settings are for."""
        return rights_of(self.readers, self.writers, has_users=bool(self.users))

    @property
    def access_rules(self) -> AccessRules | None:
        """Who may read and write which paths of the site, None where anyone may."""
        rules = [(one.match, one.settings.rights) for one in self.paths if one.sets_access]
        if all(map(is_open_to_all, (self.rights, *(rights for _, rights in rules)))):
            return None
        return AccessRules(rules, self.rights)

    @property
    def index_names(self) -> tuple[bytes, ...]:
        """The names of index files."""
        return tuple(map(os.fsencode, self.index))

    @property
    def spa_page(self) -> TargetPath | None:
        """The page of an application."""
        return parse_page(self.spa)

    @property
    def error_pages(self) -> Mapping[int, TargetPath] | None:
        """The page of each status for which one is set; None if there are none at all."""
        return None if self.error_page == (NO_PAGES,) else parse_error_pages(self.error_page)


class ServerSettings(TypedDict, total=False):
    """The settings of a server inside a program, as keyword arguments. Settings explains them."""

    host: str
    threads: int | None
    queue: int
    grace: float
    allow_trace: bool
    allow_connect: tuple[str, ...]
    response_cache: int
    charset: str
    types: tuple[str, ...]
    decode_slashes: bool
    index: tuple[str, ...]
    urls: str
    spa: str
    error_page: tuple[str, ...]
    redirects: tuple[str, ...]
    rules: str
    rules_dialect: str
    strict_rules: bool
    server_header: bool
    headers: tuple[str, ...] | HeaderTable
    cache: str | int
    cors: tuple[str, ...]
    isolate: bool
    security_headers: bool
    compress: str
    compress_memory: int
    compress_folder: str
    etag: str
    handlers: Mapping[str, Handler] | None
    listing: str
    page_size: int
    readme: bool
    hide: tuple[str, ...]
    dotfiles: bool
    symlinks: str
    title: str
    archive: tuple[str, ...]
    archive_max_bytes: int
    archive_max_files: int
    dav: bool
    live: bool
    write: tuple[str, ...]
    on_conflict: str
    max_upload: int
    quota: int
    min_free: int
    fsync: bool
    auth: tuple[str, ...]
    htpasswd: str
    readers: tuple[str, ...]
    writers: tuple[str, ...]
    allow: tuple[str, ...]
    deny: tuple[str, ...]
    model: str
    by_the_book: bool
    cert: tuple[str, ...]
    key: tuple[str, ...]
    https: bool
    http_redirect: int | None
    hsts: int
    dispatch: str
    limits: Limits
    linked_root: str
    allowed_hosts: tuple[str, ...]
    sites: tuple[VirtualHost, ...]
    paths: tuple[PathSettings, ...]


# Tables that all sites share whose settings are equal: for each they take 90 KB and a millisecond.
@lru_cache(maxsize=64)
def _visibility(hide: tuple[str, ...], symlinks: str, *, dotfiles: bool) -> Visibility:
    return Visibility(hide, dotfiles=dotfiles, symlinks=Symlinks(symlinks))


@lru_cache(maxsize=64)
def _media_types(types: tuple[str, ...], charset: str) -> MediaTypes:
    added = [parsed for text in types if (parsed := parse_added_type(text))]
    return MediaTypes(added, None if charset.lower() == "none" else charset)


def checked_root(check: Callable[[T], Root], root: T) -> Root:
    """Return a root that has passed a check of aserve/config/root.py; raises SettingsError.

    An ItemError, about one of several paths, is left to the caller, who may know its line.
    """
    try:
        return check(root)
    except ItemError:
        raise
    except ValueError as error:
        raise SettingsError("root", str(error)) from error.__cause__


def _error_in(
    kind: str, one: VirtualHost | PathSettings, setting: str, reason: str
) -> SettingsError:
    """Return the error of a setting of a site or of paths; a file names the place of it."""
    if source := one.sources.get(setting):
        return _PlacedError(source.label, reason)
    return SettingsError(kind, f"{printable(one.name)}: {setting}: {reason}")


def _check_range(setting: str, value: float, least: int, most: int) -> None:
    _require(least <= value <= most, setting, f"must be from {least} to {most}")


def _check_choice(setting: str, value: str, choices: Collection[str]) -> None:
    _require(value in choices, setting, f"must be one of {', '.join(choices)}, not {value!r}")


def _require(is_valid: bool, setting: str, reason: str) -> None:
    if not is_valid:
        raise SettingsError(setting, reason)
