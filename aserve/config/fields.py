"""Every setting: its name, its type, its default, and what it means. Settings checks them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from aserve.config.compression import COMPRESS, COMPRESS_MEMORY
from aserve.config.groups import GroupTable
from aserve.config.headers import CACHE, ETAGS, HeaderTable
from aserve.config.listings import LISTINGS
from aserve.config.names import Sources
from aserve.config.pages import PLAIN_URLS
from aserve.config.processes import DEFAULT_HOST, RESPONSE_CACHE_SIZE
from aserve.config.root import Root
from aserve.config.rules import RULES
from aserve.config.virtual_hosts import ANY_HOST, LINKED_ROOTS, PathSettings, VirtualHost
from aserve.config.writing import CONFLICTS, MIN_FREE
from aserve.filesystem.visibility import Symlinks
from aserve.handlers.archive.formats import FORMATS, MAX_BYTES, MAX_FILES
from aserve.handlers.handler import Handler
from aserve.handlers.listing.limits import PAGE_SIZE
from aserve.http1.limits import UNLIMITED, Limits
from aserve.rules.dialects import NETLIFY
from aserve.transport.registry import DEFAULT, DISPATCHES


@dataclass(frozen=True, slots=True)
class SettingFields:
    """The fields of Settings."""

    root: Root
    """The directory or file to serve, or several by their names in URLs."""
    host: str = DEFAULT_HOST
    """A name or an address; the server listens on all addresses of the name. Or a Unix socket, as
    "unix:/run/aserve.sock,mode=660,group=www" or "unix:@name"."""
    port: int | None = None
    """None for 8000 or the next free one, 0 for any free one. A Unix socket has none."""
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
    groups: tuple[str, ...] | GroupTable = ()
    """Groups of users, each "name=user,user", or a mapping; readers and writers say "@name"."""
    readers: tuple[str, ...] = ()
    """Who may read: names of users, "@" and those of groups, or "users", "anyone" or "nobody"; ()
    is all users if there are any, or else anyone."""
    writers: tuple[str, ...] = ()
    """Who may change files, where they may be changed at all; as for readers."""
    allow: tuple[str, ...] = ()
    """Networks such as "10.0.0.0/8", or addresses: if there are any, others are not served."""
    deny: tuple[str, ...] = ()
    """Networks or addresses of clients that are not served, also if they are in allow."""
    proxy_trust: tuple[str, ...] = ()
    """Networks or addresses of proxies that say who the client is, by Forwarded or X-Forwarded-For;
    "unix" for those that connect by a Unix socket."""
    proxy_protocol: bool = False
    """Whether these proxies begin every connection with a header of the PROXY protocol."""
    rate: str = ""
    """How often each client may ask: "100/s", "10/m:30" with a burst, "" for any number; more:
    429."""
    bandwidth: int = 0
    """How many bytes of responses are sent a second on each connection, 0 for no limit."""
    share: str = ""
    """Where links to one file or folder are kept, which `aserve share` makes: a file; on, that of
    this user; "" for no links."""
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
    share_ca: bool = False
    """Whether the certificate of that authority is sent at /.aserve/ca.pem, by http as well."""
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
