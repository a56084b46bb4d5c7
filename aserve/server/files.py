"""From settings to the files of a site: a directory, or several and single files in one tree."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aserve.config.settings import Settings
from aserve.filesystem.directory import Directory, FileSystem
from aserve.filesystem.mounts import Mounts
from aserve.filesystem.opened_file import MakeValidator
from aserve.filesystem.visibility import Visibility
from aserve.filesystem.watched_directories import WatchedDirectories
from aserve.filesystem.writing.digest_cache import DigestCache
from aserve.handlers.handler import Note
from aserve.http.request_target import TargetPath
from aserve.http.resources import DocumentEncoder

if TYPE_CHECKING:
    from aserve.access.rights import View
    from aserve.access.shared_view import SharedView
    from aserve.filesystem.combined import Names


def build_files(  # noqa: PLR0913, PLR0917 - all that decides what is served
    settings: Settings,
    mounts: Mounts,
    directories: WatchedDirectories | None = None,
    digests: DigestCache | None = None,
    encoder: DocumentEncoder | None = None,
    view: "View | SharedView | None" = None,
) -> FileSystem:
    """Return the files that settings serve.

    directories: those that know their names. digests: the hashes that are known of files. encoder:
    compresses them, if they are to be compressed. view: what may be read, None for all.
    """
    if settings.compress != "auto":
        encoder = None
    visibility = visibility_in(settings, view)
    make_validator = _content_tags(digests) if settings.etag == "content" else None
    directory = partial(
        Directory,
        mounts=mounts,
        media_types=settings.media_types,
        directories=directories,
        index=settings.index_names,
        make_validator=make_validator,
        has_siblings=settings.compress != "off",
        encoder=encoder,
    )
    if isinstance(settings.root, Path):
        return directory(settings.root, visibility=visibility)
    from aserve.filesystem.combined import CombinedFileSystem, Member
    from aserve.filesystem.single_file import SingleFile

    def member(name: bytes, path: Path) -> Member:
        files: FileSystem
        if is_directory := path.is_dir():
            files = directory(path, visibility=_beneath(settings, name, view))
        else:
            last = name.rpartition(b"/")[2]
            types = settings.media_types
            files = SingleFile(path, last, mounts, types, make_validator, encoder)
        return Member(files, os.fsencode(path), is_directory)

    paths = {os.fsencode(name): path for name, path in settings.root.items()}
    closed = [name for name in paths if name and view and view.hides_all_of(b"/" + name)]
    members = {
        names_of(name): member(name, path) for name, path in paths.items() if name not in closed
    }
    return CombinedFileSystem(members, map(names_of, closed))


def visibility_in(settings: Settings, view: "View | SharedView | None") -> Visibility:
    """Return what can be seen of a site. view: by whom, None for everyone."""
    visibility = settings.visibility
    return visibility.without(view.is_unreadable) if view else visibility


def _beneath(settings: Settings, name: bytes, view: "View | SharedView | None") -> Visibility:
    """Return the same for a directory that is served at a path of the site."""
    visibility = settings.visibility.beneath(name)
    if view is None:
        return visibility
    prefix = b"/" + name if name else b""
    return visibility.without(lambda path: view.is_unreadable(prefix + path))


def _content_tags(digests: DigestCache | None) -> MakeValidator:
    from aserve.filesystem.content_tags import ContentTags

    return ContentTags(digests or DigestCache())


def names_of(name: bytes) -> "Names":
    """Return the names on the path of what is served, b"" being the root."""
    return tuple(name.split(b"/")) if name else ()


def why_hidden(settings: Settings, path: TargetPath) -> Note | None:
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
