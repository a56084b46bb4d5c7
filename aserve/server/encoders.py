"""From settings to what compresses files while they are served."""

import logging
import os

from aserve.compression.background import Background
from aserve.compression.encoded_memory import EncodedMemory
from aserve.compression.file_encoder import FileEncoder
from aserve.config.settings import Settings

_logger = logging.getLogger("aserve")


def build_encoder(settings: Settings, *, improves: bool = True) -> FileEncoder | None:
    """Return what compresses the files of all sites; None if none are to be compressed.

    improves: whether it makes the best levels in the background.
    """
    every = [one for site in settings.every_site for one in (site, *_paths(site))]
    if not settings.compress_memory or all(one.compress != "auto" for one in every):
        return None
    folder = None
    if settings.compress_folder:
        from aserve.compression.encoded_folder import EncodedFolder

        folder = EncodedFolder(os.fsencode(settings.compress_folder), _warn)
    # A process that forks must have no other threads.
    background = Background() if improves and not settings.model_info.forks else None
    # The other threads are left for what takes no time.
    max_at_once = max(1, (settings.threads or 0) // 2)
    return FileEncoder(EncodedMemory(settings.compress_memory), folder, background, max_at_once)


def _paths(settings: Settings) -> list[Settings]:
    return [path.settings for path in settings.paths]


def _warn(error: OSError) -> None:
    _logger.warning("compressed files cannot be stored: %s", error)
