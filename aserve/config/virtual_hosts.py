"""Sites by host, and paths of a site that have settings of their own.

Both change some settings of what they are in: a site those of its server, a path those of its site.
Which settings can be changed is said here and nowhere else.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from copy import copy
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Self, Unpack

from aserve.config.access import completed_rule
from aserve.config.checks import Errors, choice_errors, each_value
from aserve.config.root import RootArgument
from aserve.http.host_names import is_address, parse_host_name
from aserve.http.path_globs import GlobError, compile_glob

if TYPE_CHECKING:
    from aserve.config.names import Sources
    from aserve.config.server_settings import ServerSettings
    from aserve.config.settings import Settings

ANY_HOST = "any"
LOCAL_HOSTS = "local"
"""Values of allowed_hosts that are no names."""

LINKED_ROOTS = ("follow", "reload")
"""When a link among the roots is read again: with each request, or with a reload alone."""

OF_THE_PROCESS = frozenset(
    {
        *("host", "port", "workers", "threads", "queue", "grace", "model", "by_the_book"),
        *("dispatch", "limits", "response_cache", "allow_connect", "allowed_hosts"),
        *("linked_root", "sites", "sources", "compress_memory", "compress_folder"),
        *("cert", "key", "https", "share_ca", "http_redirect", "hsts"),
        *("allow", "deny", "proxy_trust", "proxy_protocol", "bandwidth", "share"),
    }
)
"""Settings that all sites of a server have in common."""

OF_THE_SERVER = "is a setting of the whole server"
"""What is wrong with one of them in a site."""

_OF_WRITING = ("write", "on_conflict", "max_upload", "quota", "min_free", "fsync")

OF_A_SITE = frozenset(
    {
        *("root", "paths", "live", "handlers", "decode_slashes", "hide", "dotfiles", "symlinks"),
        *("allow_trace", "dav"),
        *("redirects", "rules", "rules_dialect", "strict_rules"),
        *("auth", "htpasswd", "htpasswd_lines", "groups"),
        *_OF_WRITING,
    }
)
"""Settings that all paths of a site have in common: what a path is, what can be seen, what can be
written to, which rules its files have. Listings, archives, WebDAV, moves and uploads in parts
concern several paths at once."""

_OF_USERS = frozenset({"auth", "htpasswd"})

OF_A_ROOT = ("spa", "error_page", "title", "paths", "handlers", "dav", *_OF_WRITING)
"""Settings that say something of one root: another site has the default, not the server's."""


class _Changes:
    """Some settings, in place of those of what they are in."""

    __slots__ = ("_settings", "changes", "sources")

    def __init__(self, changes: Mapping[str, Any]) -> None:
        self.changes = changes
        self.sources: Sources = {}
        """Where they were set, if a file has them."""
        self._settings: Settings | None = None

    @property
    def settings(self) -> "Settings":
        """All settings that hold here, once these belong to Settings."""
        if self._settings is None:
            raise RuntimeError("they belong to no aserve.Settings yet")
        return self._settings

    def bound(self, settings: "Settings") -> Self:
        """Return the same changes with what has become of them."""
        result = copy(self)
        result._settings = settings  # noqa: SLF001 - of the same class
        return result

    @property
    def name(self) -> str:
        """What messages call what has these settings."""
        raise NotImplementedError

    @property
    def own_settings(self) -> Mapping[str, Any]:
        """The settings that follow from its own arguments, once these are right."""
        raise NotImplementedError

    def _key(self) -> tuple[Any, ...]:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Changes) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        kind, *own, changes = self._key()
        arguments = [*map(repr, own), *(f"{name}={value!r}" for name, value in changes.items())]
        return f"aserve.{kind.__name__}({', '.join(arguments)})"


class PathSettings(_Changes):
    """Settings of the paths that match a glob; all others are those of the site.

    match: as "/assets/*" or "*.pdf"; a star is anything, slashes included.
    """

    __slots__ = ("match",)

    def __init__(self, match: str, **settings: Unpack["ServerSettings"]) -> None:
        super().__init__(settings)
        self.match = match

    def _key(self) -> tuple[Any, ...]:
        return type(self), self.match, self.changes

    @property
    def name(self) -> str:
        """What messages call these paths."""
        return str(self.match)

    @property
    def own_settings(self) -> Mapping[str, Any]:
        """The settings that follow from its own arguments, once these are right."""
        return {"paths": (), "sites": (), **completed_rule(self.changes)}

    @property
    def sets_access(self) -> bool:
        """Whether these paths have readers and writers of their own."""
        return not self.changes.keys().isdisjoint({"readers", "writers"})

    def wrong(self) -> Iterator[tuple[str, str]]:
        """Yield what is wrong, by the name of the setting."""
        if reason := _match_error(self.match):
            yield "match", f"{reason}, not {self.match!r}"
        yield from _misplaced(self.changes, OF_THE_PROCESS, OF_THE_SERVER)
        yield from _misplaced(self.changes, OF_A_SITE, "is a setting of the whole site")


class VirtualHost(_Changes):
    """A site by its hosts, beside others on the same addresses and ports.

    hosts: names and addresses, without ports; "*.a.test" is all names below a.test. root: as that
    of a Server. settings: those of aserve.Settings, in place of the server's; what the server says
    of its own root, such as title, spa and write, does not hold for this one.
    """

    __slots__ = ("hosts", "root")

    def __init__(
        self, hosts: Iterable[str], root: RootArgument, **settings: Unpack["ServerSettings"]
    ) -> None:
        super().__init__(settings)
        is_one = isinstance(hosts, str | bytes) or not isinstance(hosts, Iterable)
        self.hosts: tuple[str, ...] = (hosts,) if is_one else tuple(hosts)  # type: ignore[assignment]
        self.root = root

    def _key(self) -> tuple[Any, ...]:
        return type(self), self.hosts, self.root, self.changes

    @property
    def name(self) -> str:
        """What messages call the site."""
        return str(self.hosts[0]) if self.hosts else "no host"

    @property
    def normal_hosts(self) -> tuple[str, ...]:
        """The hosts as requests are compared with them."""
        return tuple(map(parse_host_name, self.hosts))

    @property
    def own_settings(self) -> Mapping[str, Any]:
        """The settings that follow from its own arguments, once these are right."""
        names = set(self.hosts) - {ANY_HOST, LOCAL_HOSTS}
        own = {"root": self.root, "allowed_hosts": (LOCAL_HOSTS, *sorted(names))}
        # Other users are in no group of the server's.
        return own if _OF_USERS.isdisjoint(self.changes) else {**own, "groups": ()}

    def wrong(self) -> Iterator[tuple[str, str]]:
        """Yield what is wrong, by the name of the setting."""
        if not self.hosts:
            yield "hosts", "must name at least one host"
        for host in self.hosts:
            if reason := host_error(host):
                yield "hosts", reason
        yield from _misplaced(self.changes, OF_THE_PROCESS, OF_THE_SERVER)


def linked_root_errors(settings: "Settings") -> Errors:
    """Yield what is wrong with the setting linked_root."""
    yield from choice_errors("linked_root", settings.linked_root, LINKED_ROOTS)


def site_errors(settings: "Settings") -> Errors:
    """Yield what is wrong with hosts, and with which sites there are."""
    if not settings.allowed_hosts:
        yield "allowed_hosts", "must not be empty: any is every host"
    for item, host in each_value(settings, "allowed_hosts"):
        if host not in {ANY_HOST, LOCAL_HOSTS} and (reason := host_error(host)):
            yield item, reason
    if ANY_HOST in settings.allowed_hosts and len(settings.allowed_hosts) > 1:
        yield "allowed_hosts", "any is every host, so that no other can be named"
    if not settings.sites and not settings.root:
        yield "root", "must name at least one directory"
    if settings.paths and not settings.root:
        yield "paths", "has settings for paths of the root, and there is no root beside the sites"


def usual_allowed_hosts(host: str, *, has_terminal: bool) -> tuple[str, ...]:
    """Return the allowed hosts of a root unless they are set.

    A server that listens on a loopback address for the person at the terminal is meant for this
    machine alone. host: that it listens on.
    """
    name = host.rstrip(".").lower()
    is_loopback = name == "localhost" or (is_address(name) and ip_address(name).is_loopback)
    return (LOCAL_HOSTS,) if is_loopback and has_terminal else (ANY_HOST,)


def own_hosts(host: str, allowed: Iterable[str]) -> frozenset[str]:
    """Return the names that settings say are the server's own, in their normal form.

    host: that it listens on; allowed: the allowed hosts.
    """
    named = (one for one in (host, *allowed) if one not in {ANY_HOST, LOCAL_HOSTS})
    return frozenset(parse_host_name(one) for one in named if not host_error(one))


def with_sites(root: str, sites: Collection[VirtualHost]) -> str:
    """Return in words what is served: a root, which may be "" for none, and sites."""
    count = f"{len(sites)} site{'s' * (len(sites) > 1)} by host" if sites else ""
    return " and ".join(filter(None, (root, count)))


def host_error(host: object) -> str:
    """Return what is wrong with the name of a host in settings, "" if nothing is."""
    if not isinstance(host, str):
        return f"must be the name of a host, not {host!r}"
    try:
        parse_host_name(host)
    except ValueError as error:
        return str(error)
    return ""


def _match_error(match: object) -> str:
    """Return what is wrong with the glob of paths in settings, "" if nothing is."""
    if not isinstance(match, str):
        return "must be a path such as '/assets/*'"
    try:
        compile_glob(match)
    except GlobError as error:
        return str(error)
    return ""


def taken_hosts(sites: Iterable[VirtualHost]) -> Iterator[tuple[VirtualHost, str]]:
    """Yield each site with a host that it, or another one, has already."""
    owners: dict[str, VirtualHost] = {}
    for site in sites:
        for host, given in zip(site.normal_hosts, site.hosts, strict=True):
            if host in owners:
                yield site, f"{given!r} is a host of {owners[host].name} already"
            owners[host] = site


def _misplaced(
    names: Collection[str], of_others: Collection[str], reason: str
) -> Iterator[tuple[str, str]]:
    return ((name, reason) for name in names if name in of_others)
