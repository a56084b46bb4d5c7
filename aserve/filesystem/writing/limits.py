"""How much may be written."""

from typing import NamedTuple


class WriteLimits(NamedTuple):
    """How much may be written, in bytes; None where there is no limit.

    max_upload: of one file. quota: of all files below the root, with those that are hidden.
    min_free: what is left free on the disk.
    """

    max_upload: int | None = None
    quota: int | None = None
    min_free: int | None = None
