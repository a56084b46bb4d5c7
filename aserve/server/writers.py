"""From settings to what may be written to a site, the methods that do it, and their policies."""

import os
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path

from aserve.access.rights import View
from aserve.config.root import named_paths
from aserve.config.settings import Settings
from aserve.filesystem.writing.digest_cache import DigestCache
from aserve.filesystem.writing.limits import WriteLimits
from aserve.filesystem.writing.storage import Storage
from aserve.filesystem.writing.sweep import Sweeper
from aserve.handlers.methods import Writers
from aserve.handlers.writing.allowed import AllowedMethods
from aserve.handlers.writing.areas import AreasInView, WriteAreas
from aserve.handlers.writing.delete import Delete
from aserve.handlers.writing.make_collection import MakeCollection
from aserve.handlers.writing.move import Move
from aserve.handlers.writing.post import Post
from aserve.handlers.writing.put import Put
from aserve.handlers.writing.tree import Names, Storages, WritableTree
from aserve.handlers.writing.tus.handler import ResumableUploads
from aserve.handlers.writing.writing import Writing
from aserve.http1.limits import UNLIMITED
from aserve.policies.cross_origin import CrossOrigin
from aserve.policies.policy import Policy
from aserve.policies.repr_digest import ReprDigest
from aserve.policies.uploaded_pages import UploadedPages
from aserve.server.files import names_of
from aserve.server.header_policies import trusted_origins


def build_storages(settings: Settings) -> Mapping[Names, Storage | None]:
    """Return where each of the paths that are served is written to, None for files."""
    members = _members(settings).items()
    return {names: _storage(settings, names, path) for names, path in members}


def build_writers(
    settings: Settings,
    digests: DigestCache,
    storages: Mapping[Names, Storage | None],
    view: View | None = None,
) -> Writers:
    """Return the methods that change files.

    storages: which all views of a site share, with their quota. view: what may be written, None for
    all.
    """
    others = {"TRACE": settings.allow_trace, "PROPFIND": settings.dav}
    everywhere = ["GET", "HEAD", "OPTIONS", *(name for name, is_on in others.items() if is_on)]
    tree = build_tree(settings, storages, view)
    methods = ["POST", "PUT", "DELETE", "MKCOL", "MOVE"]
    known = (*methods, "PATCH")  # which only uploads in parts have
    allowed = AllowedMethods(
        tree,
        everywhere,
        known,
        decode_slashes=settings.decode_slashes,
        tells_pages_all=view is not None,
    )
    writing = Writing(tree, allowed, settings.max_upload, settings.decode_slashes, digests)
    post = Post(writing, settings.on_conflict)
    handlers = (post, Put(writing), Delete(writing), MakeCollection(writing), Move(writing))
    table = dict.fromkeys(known) | dict(zip(methods, handlers, strict=True))
    wrap = partial(ResumableUploads, writing, settings.on_conflict)
    return Writers(table, allowed, tree.mode_in, wrap)


def build_policies(settings: Settings, digests: DigestCache) -> Iterator[Policy]:
    """Yield the policies of a site that can be written to."""
    yield CrossOrigin(trusted_origins(settings))
    yield ReprDigest(digests)
    yield UploadedPages(WriteAreas(settings.write_areas), decode_slashes=settings.decode_slashes)


def find_unwritable(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a setting and what is wrong, for each area in which the process cannot write."""
    members = _members(settings)
    for area in settings.write_areas:
        owner = max((one for one in members if area.path[: len(one)] == one), key=len, default=None)
        path = None if owner is None else _path(b"/".join(area.path[len(owner) :]))
        place = members[owner] / path if owner is not None and path else None
        if place is None or not place.is_dir():
            yield "write", f"there is no folder {area.shown_path()}"
        elif not os.access(place, os.W_OK | os.X_OK):
            yield "write", f"the server may not write in {area.shown_path()}: permission denied"


def build_sweeper(settings: Settings) -> Sweeper:
    """Return what removes abandoned uploads, in a thread of its own once it is started."""
    roots = [named_paths(site.root).values() for site in settings.every_site if site.write]
    paths = dict.fromkeys(map(_path, chain.from_iterable(roots)))
    return Sweeper([Storage(path) for path in paths if path.is_dir()])


def _members(settings: Settings) -> Mapping[Names, Path]:
    """Return the path on disk of all that is served."""
    paths = named_paths(settings.root).items()
    return {names_of(name): _path(path) for name, path in paths}


def _path(path: bytes) -> Path:
    return Path(os.fsdecode(path))


def build_tree(
    settings: Settings, storages: Mapping[Names, Storage | None], view: View | None = None
) -> WritableTree:
    """Return the directories that settings let clients write to. view: as for build_writers."""
    areas = settings.write_areas
    by_mode = {
        names: _by_mode(storage, names, view) if storage else None
        for names, storage in storages.items()
    }
    return WritableTree(by_mode, AreasInView(areas, view) if view else WriteAreas(areas))


def _by_mode(storage: Storage, names: Names, view: View | None) -> Storages:
    """Return the storage for each mode.

    Only names that may be read may be replaced, deleted or moved to where others can read them.
    """
    if view is None:
        return {"all": storage, "add": storage.adding()}
    prefix = b"".join(b"/" + name for name in names)

    def is_denied(path: bytes) -> bool:
        return view.is_unwritable(prefix + path) or view.is_unreadable(prefix + path)

    adding = storage.adding().hiding(lambda path: view.is_unwritable(prefix + path))
    return {"all": storage.hiding(is_denied), "add": adding}


def _storage(settings: Settings, names: Names, path: Path) -> Storage | None:
    if not path.is_dir():
        return None
    sizes = settings.max_upload, settings.quota, settings.min_free
    limits = WriteLimits(*(None if size in {0, UNLIMITED} else size for size in sizes))
    visibility = settings.visibility.beneath(b"/".join(names))
    return Storage(path, visibility, limits, fsync=settings.fsync)
