"""Which content is worth compressing: the same rules ahead of time and on the fly."""

from functools import lru_cache

MIN_SIZE = 256
"""Bytes. What is smaller fits into the packet that carries the headers, compressed or not."""
MAX_RATIO = 0.95
"""What content is compressed to at most, or it is not worth the work of its clients."""
PACKED_BEGINNINGS = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
"""Of what gzip and zstd make. Under another name, a rule may say that it is in that coding: in one
more, clients would decode it once too little."""

_PACKED_PREFIXES = (
    *("audio/", "image/", "video/", "font/woff"),
    *("application/gzip", "application/zip", "application/zstd", "application/vnd.rar"),
    *("application/x-7z-", "application/x-bzip", "application/x-xz", "application/java-archive"),
    *("application/epub+zip", "application/vnd.openxmlformats-", "application/vnd.android.package"),
)
_NOT_PACKED = ("image/svg+xml", "image/bmp", "image/vnd.microsoft.icon", "audio/wav")


@lru_cache(maxsize=256)
def is_packed(media_type: str) -> bool:
    """Tell whether files of a media type are compressed already, whatever is in them."""
    return media_type.startswith(_PACKED_PREFIXES) and not media_type.startswith(_NOT_PACKED)
