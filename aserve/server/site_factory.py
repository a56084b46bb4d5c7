"""From settings to a site: which handlers and policies they ask for, in which order."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import zip_longest
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, NamedTuple

from aserve.config.settings import Settings
from aserve.filesystem.directory import FileSystem, ResourceFinder
from aserve.filesystem.mounts import Mounts
from aserve.filesystem.watched_directories import WatchedDirectories
from aserve.filesystem.writing.digest_cache import DigestCache
from aserve.handlers.clean_urls import CONVENTIONS, CleanUrls
from aserve.handlers.deferred import Deferred
from aserve.handlers.error_pages import CustomErrorPages, ErrorPages, has_file
from aserve.handlers.handler import Handler
from aserve.handlers.methods import MethodDispatcher, Writers, method_table
from aserve.handlers.redirects import RulesSource
from aserve.handlers.static_files import StaticFiles
from aserve.http.resources import DocumentEncoder
from aserve.policies.current_rules import CurrentRules
from aserve.policies.encoded_pages import EncodedPages
from aserve.policies.header_file import HeaderFile
from aserve.policies.policy import Policy
from aserve.policies.response_memory import ResponseMemory
from aserve.policies.server_header import ServerHeader
from aserve.policies.site import Site
from aserve.server.files import build_files, visibility_in, why_hidden
from aserve.server.header_policies import (
    build_default_headers,
    build_header_rules,
    cache_control,
    cache_note,
    fixed_names,
)
from aserve.server.rates import Rates, path_scope, site_scopes
from aserve.server.routers import route_hosts, route_paths, select_path
from aserve.server.site_rules import build_redirects, build_rule_files
from aserve.server.writing import methods_of, policies_of

if TYPE_CHECKING:
    from aserve.access.rights import View
    from aserve.access.shared_view import SharedView
    from aserve.filesystem.listed import IsListed
    from aserve.handlers.folders import Folders
    from aserve.policies.live_reload import LiveReload
    from aserve.server.access import LoginGuard
    from aserve.shares.store import ShareStore


def build_site(  # noqa: PLR0913, PLR0917 - the parts that a site shares with others
    settings: Settings,
    mounts: Mounts,
    directories: WatchedDirectories | None = None,
    live_reloads: "Sequence[LiveReload | None]" = (),
    encoder: DocumentEncoder | None = None,
    rates: Rates | None = None,
    shares: "ShareStore | None" = None,
) -> Site:
    """Return what answers every request to a server: its site, or a router between several.

    directories: those that know their names. live_reloads: what makes the pages of each site of
    settings.every_site reload, None for nothing. encoder: compresses files, where that is on.
    rates: of this server, None for new ones. shares: the store of links, if they are served.
    """
    memory, digests = ResponseMemory(settings.limits.max_response_memory), DigestCache()
    # The other threads are left for what takes no time.
    half = max(1, (settings.threads or 0) // 2)
    of_threads = BoundedSemaphore(half), cache(partial(_login_guard, half))
    rates = rates or Rates()
    shared = _Shared(
        mounts, directories, None, digests, memory, encoder, rates, shares, *of_threads
    )
    each = zip_longest(settings.every_site, site_scopes(settings), live_reloads)
    sites = [
        _build_host(one, scope, shared._replace(live_reload=reload)) for one, scope, reload in each
    ]
    site = route_hosts(settings, sites, rates.of(settings, ""))
    if settings.share_ca:
        from aserve.server.shared_authority import route_authority

        site = route_authority(settings, site)
    if settings.allow or settings.deny:
        from aserve.server.access import route_clients

        site = route_clients(settings, site)
    if trusted := settings.believed_proxies:
        from aserve.policies.trusted_proxies import TrustedProxies

        site.proxies = TrustedProxies(trusted)
    return site


def _login_guard(threads: int) -> "LoginGuard":
    from aserve.server.access import LoginGuard

    return LoginGuard.of_threads(threads)


class _Shared(NamedTuple):
    """What all sites of one server share, and what makes the pages of one reload.

    live_reload: the outermost policy.
    """

    mounts: Mounts
    directories: WatchedDirectories | None
    live_reload: "LiveReload | None"
    digests: DigestCache
    memory: ResponseMemory
    encoder: DocumentEncoder | None
    rates: Rates
    shares: "ShareStore | None"
    free_searches: BoundedSemaphore
    make_guard: "Callable[[], LoginGuard]"


def _build_host(settings: Settings, scope: str, shared: _Shared) -> Site:
    """Return the site of one root, with a view for each group of users with equal rights.

    scope: of its rate (Rates.of).
    """
    rules = build_rule_files(settings, shared.mounts, shared.directories)
    writing_in = methods_of(settings, shared.digests)

    def build(view: "View | None") -> Site:
        return _build_view(settings, _OfHost(writing_in(view), rules, view, scope), shared)

    if settings.access_rules is None:
        site = build(None)
    else:
        from aserve.server.access import route_users

        site = route_users(settings, build, shared.make_guard())
    if shared.shares is None:
        return site
    from aserve.server.shares import route_links

    def build_link(view: "SharedView", depth: int) -> Site:
        host = _OfHost(None, rules, view, scope, depth)
        return _build_view(settings, host, shared._replace(live_reload=None))

    return route_links(settings, site, shared.shares, build_link)


def _build_view(settings: Settings, host: "_OfHost", shared: _Shared) -> Site:
    """Return the site of one view, with those of its paths that have settings of their own."""
    each = [path.settings for path in settings.paths]
    select = select_path(settings)
    has_tags = all(one.etag == "stat" for one in (settings, *each))

    def settings_of(directory: bytes) -> Settings:
        index = select(directory)
        return settings if index is None else each[index]

    def is_listed(directory: bytes) -> bool:
        return _is_listed(settings_of(directory))

    def is_told(directory: bytes) -> bool:
        return settings_of(directory).listing != "off"

    def build(one: Settings, scope: str) -> Site:
        files = build_files(
            one, shared.mounts, shared.directories, shared.digests, shared.encoder, host.view
        )
        if not all(map(_is_listed, each)):
            from aserve.filesystem.listed import ListedFileSystem

            files = ListedFileSystem(files, is_listed)
        propfind = _propfind(one, files, is_told, has_tags=has_tags)
        return _build_paths(one, files, propfind, host._replace(rate_scope=scope), shared)

    scopes = [path_scope(host.rate_scope, path) for path in settings.paths]
    by_path = list(map(build, each, scopes))
    return route_paths(settings, build(settings, host.rate_scope), by_path, select)


class _OfHost(NamedTuple):
    """What all paths of one host share, for the users of one view; None: it is for everyone.

    rate_scope: what the rate is set for (Rates.of); paths may have one of their own. link_depth:
    how many names are on the path of what a link leads to, if the view is that of a link. There
    are only files: no redirects, no page of an app, no other names of pages, and no handlers of a
    program, all of which lead to more than a file at its path.
    """

    writing: Writers | None
    rules: RulesSource | None
    view: "View | SharedView | None"
    rate_scope: str
    link_depth: int | None = None


def _build_paths(
    settings: Settings,
    files: FileSystem,
    propfind: Handler | None,
    host: _OfHost,
    shared: _Shared,
) -> Site:
    """Return the site of paths that have the same settings."""
    writing = host.writing
    methods = method_table(
        _pages(settings, files, host, shared.free_searches),
        allow_trace=settings.allow_trace,
        connect=_connect(settings),
        decode_slashes=settings.decode_slashes,
        propfind=propfind,
        writing=writing,
    )
    live_reload = shared.live_reload
    encoded = EncodedPages() if settings.compress == "auto" else None
    outermost = filter(None, (encoded, live_reload))
    counting = shared.rates.of(settings, host.rate_scope)
    policies = (*counting, *outermost, *_policies(settings, shared.digests, host))
    dispatcher = MethodDispatcher(methods, writing.allowed if writing else None)
    handler = writing.wrap(dispatcher) if writing else dispatcher
    if settings.handlers and host.link_depth is None:
        from aserve.handlers.routes import Routes

        slashes, is_guarded = settings.decode_slashes, host.view is not None
        own = settings.handlers
        handler = Routes(own, handler, decode_slashes=slashes, is_guarded=is_guarded)
    return Site(handler, policies, _error_pages(settings, files), shared.memory)


def _pages(
    settings: Settings,
    files: FileSystem,
    host: _OfHost,
    free_searches: BoundedSemaphore,
) -> Handler:
    """Return the handler of GET and HEAD."""
    if host.link_depth is not None:
        is_listed = _is_listed(settings)
        return _static_files(settings, files, files, host, free_searches, is_listed=is_listed)
    by_url: ResourceFinder = files
    if convention := CONVENTIONS.get(settings.urls):
        by_url = CleanUrls(files, convention, settings.index_names)
    build = partial(_static_files, settings, files, by_url, host, free_searches)
    handler: Handler = build(is_listed=_is_listed(settings))
    if rules := host.rules:
        unlisted = handler if settings.listing == "on" else build(is_listed=False)
        handler = build_redirects(settings, files, handler, unlisted, rules)
    if page := settings.spa_page:
        from aserve.handlers.single_page_app import SinglePageApp

        place = settings.place_of("spa")
        return SinglePageApp(handler, files, page, settings.media_types, place)
    return handler


def _is_listed(settings: Settings) -> bool:
    """Tell whether directories are listed.

    The routes of an application may have the names of its directories: there, only `on` lists them.
    """
    return settings.listing == "on" or (settings.listing == "auto" and not settings.spa)


def _static_files(  # noqa: PLR0913 - parts of a site
    settings: Settings,
    files: FileSystem,
    by_url: ResourceFinder,
    host: _OfHost,
    free_searches: BoundedSemaphore,
    *,
    is_listed: bool,
) -> StaticFiles:
    """Return the handler of files and directories."""
    static_files = partial(
        StaticFiles,
        by_url,
        decode_slashes=settings.decode_slashes,
        cache_control=cache_control(settings),
        why_cached=partial(cache_note, settings),
        why_hidden=partial(why_hidden, settings),
    )
    if not is_listed:
        return static_files()

    def make_folders() -> "Folders":
        from aserve.server.folders import build_folders

        mode_in = host.writing.mode_in if host.writing else None
        return build_folders(settings, files, free_searches, mode_in, host.link_depth or 0)

    folders = Deferred(make_folders)
    if settings.model_info.forks:  # or the process of each client would make them anew
        folders.prepare()
    return static_files(folders=folders, lists_all=settings.listing == "on")


def _propfind(
    settings: Settings, files: FileSystem, is_told: "IsListed", *, has_tags: bool
) -> Handler | None:
    """Return the handler of PROPFIND, if WebDAV clients are to read.

    They see the files themselves, whatever URLs their pages have, and index files or not.
    is_told: tells of which folders listings are not off. has_tags: whether all files have entity
    tags that are known without reading them.
    """
    if not settings.dav:
        return None
    from aserve.handlers.dav.propfind import Propfind

    types, decode_slashes = settings.media_types, settings.decode_slashes
    return Propfind(files, types, is_told, decode_slashes=decode_slashes, has_tags=has_tags)


def _error_pages(settings: Settings, files: ResourceFinder) -> Handler:
    pages, decode_slashes = settings.error_pages, settings.decode_slashes
    if pages is None:
        return ErrorPages()
    place = settings.place_of("error_page")
    return CustomErrorPages(files, pages, decode_slashes=decode_slashes, place=place)


def missing_pages(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a setting and what is wrong, for each page that settings name and that is not there."""
    pages = dict.fromkeys((settings.error_pages or {}).values(), "error_page")
    if settings.spa_page:
        pages[settings.spa_page] = "spa"
    files = build_files(settings, Mounts()) if pages else None
    for page, setting in pages.items():
        if files and not has_file(files, page):
            name = os.fsdecode(b"/".join(page.segments))
            yield setting, f"there is no file {name!r} to be sent"


def _connect(settings: Settings) -> Handler | None:
    """Return the handler of CONNECT, if any address is allowed."""
    if not settings.allow_connect:
        return None
    from aserve.handlers.methods import Connect
    from aserve.transport.eventloop.tunnel import Tunnel

    open_tunnel = partial(Tunnel, idle_timeout=settings.limits.tunnel_timeout)
    return Connect(settings.allow_connect, open_tunnel)


def _policies(settings: Settings, digests: DigestCache, host: _OfHost) -> Iterator[Policy]:
    """Yield the policies of a site, the outermost first."""
    if settings.server_header:
        yield ServerHeader()
    if settings.has_tls:
        from aserve.policies.https import HttpsOnly

        yield HttpsOnly(settings.http_redirect, settings.port)
    if settings.hsts:
        from aserve.policies.https import StrictTransportSecurity

        yield StrictTransportSecurity(settings.hsts)
    own = list(build_header_rules(settings))
    yield from own
    if rules := host.rules:
        find_hidden = visibility_in(settings, host.view).find_hidden
        decode_slashes = settings.decode_slashes
        yield CurrentRules(rules, find_hidden, decode_slashes=decode_slashes)
        yield HeaderFile(rules, decode_slashes=decode_slashes, fixed=fixed_names(own))
    yield from build_default_headers(settings)
    yield from policies_of(settings, digests)
