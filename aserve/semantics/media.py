"""Media types by file name suffix.

Our own table and never the machine's: those call .js text/plain on some systems, and a reply must
not depend on what else is installed.
"""

_TEXT = {
    "text/css": "css",
    "text/csv": "csv",
    "text/html": "html htm",
    "text/javascript": "js mjs",  # RFC 9239
    "text/markdown": "md markdown",
    "text/plain": "txt text log ini cfg conf",
    "text/vtt": "vtt",
    "text/calendar": "ics",
    "text/x-python": "py",
    "text/x-shellscript": "sh",
    "application/xhtml+xml": "xhtml xht",
    "application/xml": "xml xsl",
    "application/atom+xml": "atom",
    "application/rss+xml": "rss",
}

_OTHER = {
    "application/epub+zip": "epub",
    "application/geo+json": "geojson",
    "application/gzip": "gz tgz",
    "application/java-archive": "jar",
    "application/json": "json map",  # RFC 8259: always UTF-8, and no charset parameter is defined
    "application/ld+json": "jsonld",
    "application/manifest+json": "webmanifest",
    "application/msword": "doc",
    "application/pdf": "pdf",
    "application/rtf": "rtf",
    "application/vnd.ms-excel": "xls",
    "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.sqlite3": "sqlite db",
    "application/wasm": "wasm",
    "application/x-7z-compressed": "7z",
    "application/x-bzip2": "bz2",
    "application/x-tar": "tar",
    "application/x-xz": "xz",
    "application/yaml": "yaml yml",  # RFC 9512
    "application/zip": "zip whl",
    "application/zstd": "zst",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/midi": "mid midi",
    "audio/mp4": "m4a",
    "audio/mpeg": "mp3",
    "audio/ogg": "oga ogg opus",
    "audio/wav": "wav",
    "audio/webm": "weba",
    "font/collection": "ttc",
    "font/otf": "otf",
    "font/ttf": "ttf",
    "font/woff": "woff",
    "font/woff2": "woff2",
    "image/apng": "apng",
    "image/avif": "avif",
    "image/bmp": "bmp",
    "image/gif": "gif",
    "image/heic": "heic",
    "image/jpeg": "jpg jpeg jfif",
    "image/jxl": "jxl",
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/tiff": "tif tiff",
    "image/vnd.microsoft.icon": "ico",
    "image/webp": "webp",
    "model/gltf+json": "gltf",
    "model/gltf-binary": "glb",
    "application/vnd.apple.mpegurl": "m3u8",
    "application/dash+xml": "mpd",
    "video/mp2t": "ts",
    "video/mp4": "mp4 m4v",
    "video/mpeg": "mpg mpeg",
    "video/ogg": "ogv",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
    "video/x-msvideo": "avi",
}

UNKNOWN = "application/octet-stream"

MEDIA_TYPES = {
    suffix: media_type + charset
    for table, charset in ((_TEXT, "; charset=utf-8"), (_OTHER, ""))
    for media_type, suffixes in table.items()
    for suffix in suffixes.split()
}


def media_type(name: bytes) -> str:
    """Return the Content-Type of a file by its name; application/octet-stream if unknown."""
    stem, dot, suffix = name.rpartition(b".")
    if not (stem and dot):  # "README" and ".profile" have no suffix
        return UNKNOWN
    return MEDIA_TYPES.get(suffix.decode("latin-1").lower(), UNKNOWN)
