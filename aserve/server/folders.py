"""From settings to what directories are answered with. It is imported with the first of them."""

from collections.abc import Callable
from threading import BoundedSemaphore

from aserve.config.settings import Settings
from aserve.filesystem.directory import FileSystem
from aserve.handlers.archive.handler import Archives
from aserve.handlers.folders import Folders
from aserve.handlers.listing.handler import Listings
from aserve.handlers.writing.areas import WriteMode
from aserve.http.request_target import TargetPath


def build_folders(
    settings: Settings,
    files: FileSystem,
    free_searches: BoundedSemaphore,
    mode_in: Callable[[TargetPath], WriteMode | None] | None,
    depth: int = 0,
) -> Folders:
    """Return what makes listings of directories, and archives of them or says there are none.

    free_searches: deep searches that may still begin. mode_in: returns what may be done to the
    entries of a directory; None where nothing may be written anywhere. depth: how many names of
    each path are not told.
    """
    limits = settings.archive_max_bytes, settings.archive_max_files
    archives = Archives(files, settings.archive, *limits)
    listings = Listings(
        files,
        settings.media_types,
        page_size=settings.page_size,
        title=settings.title,
        archives=archives.formats,
        has_texts=settings.readme,
        free_searches=free_searches,
        write_mode=mode_in,
        depth=depth,
    )
    return Folders(listings, archives)
