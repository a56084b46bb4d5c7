"""From settings to the files of a site: a directory, or several and single files in one tree."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aserve.config.settings import Settings
from aserve.filesystem.directory import Directory, FileSystem
from aserve.filesystem.mounts import Mounts
from aserve.filesystem.opened_file import MakeValidator
from aserve.filesystem.watched_directories import WatchedDirectories
from aserve.filesystem.writing.digest_cache import DigestCache
from aserve.http.resources import DocumentEncoder

if TYPE_CHECKING:
    from aserve.filesystem.combined import Names


def build_files(
    settings: Settings,
    mounts: Mounts,
    directories: WatchedDirectories | None = None,
    digests: DigestCache | None = None,
    encoder: DocumentEncoder | None = None,
) -> FileSystem:
    """Return the files that settings serve.

    directories: those that know their names. digests: the hashes that are known of files. encoder:
    compresses them, if they are to be compressed.
    """
    if settings.compress != "auto":
        encoder = None
    visibility = settings.visibility
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
            files = directory(path, visibility=visibility.beneath(name))
        else:
            last = name.rpartition(b"/")[2]
            types = settings.media_types
            files = SingleFile(path, last, mounts, types, make_validator, encoder)
        return Member(files, os.fsencode(path), is_directory)

    paths = {os.fsencode(name): path for name, path in settings.root.items()}
    return CombinedFileSystem({names_of(name): member(name, path) for name, path in paths.items()})


def _content_tags(digests: DigestCache | None) -> MakeValidator:
    from aserve.filesystem.content_tags import ContentTags

    return ContentTags(digests or DigestCache())


def names_of(name: bytes) -> "Names":
    """Return the names on the path of what is served, b"" being the root."""
    return tuple(name.split(b"/")) if name else ()
