"""From settings to a site: which handlers and policies they ask for, in which order."""

import os
from collections.abc import Iterator
from functools import partial

from aserve.config.settings import Settings
from aserve.filesystem.directory import FileSystem, ResourceFinder
from aserve.filesystem.mounts import Mounts
from aserve.filesystem.visibility import Visibility
from aserve.filesystem.watched_directories import WatchedDirectories
from aserve.filesystem.writing.digest_cache import DigestCache
from aserve.handlers.archive.handler import Archives
from aserve.handlers.clean_urls import CONVENTIONS, CleanUrls
from aserve.handlers.error_pages import CustomErrorPages, ErrorPages, has_file
from aserve.handlers.handler import Handler, Note
from aserve.handlers.listing.handler import Listings
from aserve.handlers.listing.search import SearchLimits
from aserve.handlers.methods import Connect, MethodDispatcher, Writers, method_table
from aserve.handlers.single_page_app import SinglePageApp
from aserve.handlers.static_files import StaticFiles
from aserve.handlers.writing.areas import WriteAreas
from aserve.http.request_target import TargetPath
from aserve.policies.cross_origin import CrossOrigin
from aserve.policies.live_reload import LiveReload
from aserve.policies.policy import Policy
from aserve.policies.repr_digest import ReprDigest
from aserve.policies.response_memory import ResponseMemory
from aserve.policies.server_header import ServerHeader
from aserve.policies.site import Site
from aserve.policies.uploaded_pages import UploadedPages
from aserve.server.files import build_files
from aserve.server.writers import build_writers
from aserve.transport.eventloop.tunnel import Tunnel


def build_site(
    settings: Settings,
    mounts: Mounts,
    directories: WatchedDirectories | None = None,
    live_reload: LiveReload | None = None,
) -> Site:
    """Return the site that settings describe.

    directories: those that know their names. live_reload: makes pages reload; the outermost policy.
    """
    files = build_files(settings, mounts, directories)
    digests = DigestCache()
    writing = build_writers(settings, digests)
    methods = method_table(
        _pages(settings, files, writing),
        allow_trace=settings.allow_trace,
        connect=_connect(settings),
        decode_slashes=settings.decode_slashes,
        writing=writing,
    )
    policies = (*filter(None, (live_reload,)), *_policies(settings, digests))
    dispatcher = MethodDispatcher(methods, writing.allowed if writing else None)
    handler = writing.wrap(dispatcher) if writing else dispatcher
    memory = ResponseMemory(settings.limits.max_response_memory)
    return Site(handler, policies, _error_pages(settings, files), memory)


def _pages(settings: Settings, files: FileSystem, writing: Writers | None) -> Handler:
    """Return the handler of GET and HEAD."""
    by_url: ResourceFinder = files
    if convention := CONVENTIONS.get(settings.urls):
        by_url = CleanUrls(files, convention, settings.index_names)
    handler = _static_files(settings, files, by_url, writing)
    if page := settings.spa_page:
        place = settings.place_of("spa")
        return SinglePageApp(handler, files, page, settings.media_types, place)
    return handler


def _static_files(
    settings: Settings, files: FileSystem, by_url: ResourceFinder, writing: Writers | None
) -> StaticFiles:
    """Return the handler of files and directories.

    The routes of an application may have the names of its directories: there, only `on` lists them.
    """
    decode_slashes, why_hidden = settings.decode_slashes, partial(_why_hidden, settings)
    if settings.listing == "off" or (settings.spa and settings.listing == "auto"):
        return StaticFiles(by_url, decode_slashes=decode_slashes, why_hidden=why_hidden)
    archives = _archives(settings, files)
    listings = Listings(
        files,
        settings.media_types,
        page_size=settings.page_size,
        title=settings.title,
        archives=archives.formats,
        has_texts=settings.readme,
        # The other threads are left for what takes no time.
        limits=SearchLimits(max_running=max(1, (settings.threads or 0) // 2)),
        write_mode=writing.mode_in if writing else None,
    )
    return StaticFiles(
        by_url,
        decode_slashes=decode_slashes,
        listings=listings,
        archives=archives,
        lists_all=settings.listing == "on",
        why_hidden=why_hidden,
    )


def _why_hidden(settings: Settings, path: TargetPath) -> Note | None:
    """Return a note on what hides a path, None if it is visible."""
    name = b"/" + b"/".join(path.segments)
    if Visibility(dotfiles=True).find_hidden(name):
        return Note("access", "hidden: such names are never served")
    for index, glob in enumerate(settings.hide):
        if Visibility([glob], dotfiles=True).find_hidden(name):
            return Note("access", f"hidden by {glob}", settings.place_of("hide", index))
    if settings.visibility.find_hidden(name):
        return Note("access", "hidden: a name begins with a dot", settings.place_of("dotfiles"))
    return None


def _error_pages(settings: Settings, files: ResourceFinder) -> Handler:
    pages, decode_slashes = settings.error_pages, settings.decode_slashes
    if pages is None:
        return ErrorPages()
    place = settings.place_of("error_page")
    return CustomErrorPages(files, pages, decode_slashes=decode_slashes, place=place)


def _archives(settings: Settings, files: FileSystem) -> Archives:
    """Return what makes archives of directories, or says that there are none."""
    limits = settings.archive_max_bytes, settings.archive_max_files
    return Archives(files, settings.archive, *limits)


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
    open_tunnel = partial(Tunnel, idle_timeout=settings.limits.tunnel_timeout)
    return Connect(settings.allow_connect, open_tunnel) if settings.allow_connect else None


def _policies(settings: Settings, digests: DigestCache) -> Iterator[Policy]:
    """Yield the policies of a site, the outermost first."""
    if settings.server_header:
        yield ServerHeader()
    if settings.write:
        yield CrossOrigin()
        yield ReprDigest(digests)
        areas = WriteAreas(settings.write_areas)
        yield UploadedPages(areas, decode_slashes=settings.decode_slashes)
