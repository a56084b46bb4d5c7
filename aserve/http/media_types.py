"""Media types by file name suffix.

The table is built in; the system's mime.types is never read. Some systems map .js to text/plain,
and a response must not depend on what else is installed.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

_TYPES = {
    "text/calendar": "ics",
    "text/css": "css",
    "text/csv": "csv",
    "text/html": "html htm",
    "text/javascript": "js mjs",  # RFC 9239
    "text/markdown": "md markdown",
    "text/plain": (
        "txt text log ini cfg conf list in nfo properties rst adoc asciidoc tex bib bat cmd ps1"
        " c h cc cpp hpp cs go java kt lua php pl rb rs sql swift tsx jsx vue scss sass less"
        " asc md5 sha1 sha256 sha512 lock gradle cmake"
    ),
    "text/tab-separated-values": "tsv",
    "text/turtle": "ttl",
    "text/vcard": "vcf",
    "text/vtt": "vtt",
    "text/wgsl": "wgsl",
    "text/x-diff": "diff patch",
    "text/x-python": "py",
    "text/x-shellscript": "sh",
    "application/atom+xml": "atom",
    "application/dash+xml": "mpd",
    "application/epub+zip": "epub",
    "application/geo+json": "geojson",
    "application/gpx+xml": "gpx",
    "application/gzip": "gz tgz",
    "application/java-archive": "jar",
    "application/json": "json map topojson",  # RFC 8259: UTF-8, and no charset is defined
    "application/json5": "json5",
    "application/jsonl": "jsonl",
    "application/ld+json": "jsonld",
    "application/manifest+json": "webmanifest",
    "application/msword": "doc",
    "application/n-triples": "nt",
    "application/node": "cjs",
    "application/ogg": "ogx",
    "application/pdf": "pdf",
    "application/pgp-signature": "sig",
    "application/pkix-cert": "cer",
    "application/postscript": "ps ai eps",
    "application/rdf+xml": "rdf owl",
    "application/rss+xml": "rss",
    "application/rtf": "rtf",
    "application/toml": "toml",
    "application/ttml+xml": "ttml",
    "application/vnd.android.package-archive": "apk",
    "application/vnd.apache.parquet": "parquet",
    "application/vnd.apple.mpegurl": "m3u8",
    "application/vnd.google-earth.kml+xml": "kml",
    "application/vnd.google-earth.kmz": "kmz",
    "application/vnd.ms-cab-compressed": "cab",
    "application/vnd.ms-excel": "xls",
    "application/vnd.ms-fontobject": "eot",
    "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.oasis.opendocument.graphics": "odg",
    "application/vnd.oasis.opendocument.presentation": "odp",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.rar": "rar",
    "application/vnd.sqlite3": "sqlite sqlite3 db",
    "application/wasm": "wasm",
    "application/wsdl+xml": "wsdl",
    "application/x-7z-compressed": "7z",
    "application/x-bittorrent": "torrent",
    "application/x-bzip2": "bz2",
    "application/x-ipynb+json": "ipynb",
    "application/x-mobipocket-ebook": "mobi",
    "application/x-ndjson": "ndjson",
    "application/x-subrip": "srt",
    "application/x-tar": "tar",
    "application/x-x509-ca-cert": "crt der pem",
    "application/x-xpinstall": "xpi",
    "application/x-xz": "xz",
    "application/xhtml+xml": "xhtml xht",
    "application/xml": "xml xsl xsd rng",
    "application/xml-dtd": "dtd",
    "application/xslt+xml": "xslt",
    "application/xspf+xml": "xspf",
    "application/yaml": "yaml yml",  # RFC 9512
    "application/zip": "zip whl",
    "application/zstd": "zst",
    "audio/aac": "aac",
    "audio/amr": "amr",
    "audio/flac": "flac",
    "audio/matroska": "mka",
    "audio/midi": "mid midi",
    "audio/mp4": "m4a m4b",
    "audio/mpeg": "mp3 mp2 mpga",
    "audio/ogg": "oga ogg opus spx",
    "audio/wav": "wav",
    "audio/webm": "weba",
    "audio/x-aiff": "aif aiff",
    "audio/x-mpegurl": "m3u",
    "audio/x-ms-wma": "wma",
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
    "image/heif": "heif",
    "image/jp2": "jp2",
    "image/jpeg": "jpg jpeg jfif",
    "image/jxl": "jxl",
    "image/png": "png",
    "image/svg+xml": "svg svgz",
    "image/tiff": "tif tiff",
    "image/vnd.adobe.photoshop": "psd",
    "image/vnd.djvu": "djvu",
    "image/vnd.microsoft.icon": "ico cur",
    "image/webp": "webp",
    "message/rfc822": "eml mhtml",
    "model/3mf": "3mf",
    "model/gltf+json": "gltf",
    "model/gltf-binary": "glb",
    "model/mtl": "mtl",
    "model/obj": "obj",
    "model/step": "step stp",
    "model/stl": "stl",
    "model/vnd.collada+xml": "dae",
    "model/vnd.usdz+zip": "usdz",
    "video/3gpp": "3gp",
    "video/3gpp2": "3g2",
    "video/iso.segment": "m4s",
    "video/mp2t": "ts m2ts",
    "video/mp4": "mp4 m4v",
    "video/mpeg": "mpg mpeg",
    "video/ogg": "ogv",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-flv": "flv",
    "video/matroska": "mkv",
    "video/x-ms-wmv": "wmv",
    "video/x-msvideo": "avi",
}
"""From the IANA registry; for types it does not list, from jshttp/mime-db and nginx."""

_FILE_NAMES = {
    "text/plain": (
        "authors caddyfile changelog changes codeowners containerfile contributing"
        " contributors copying copyright credits dockerfile gemfile gnumakefile history install"
        " jenkinsfile licence license maintainers makefile md5sums news notice procfile"
        " rakefile readme release sha1sums sha256sums sha512sums thanks todo unlicense"
        " vagrantfile version cname _headers _redirects"
    ),
    # Apple, OpenID Connect, OAuth (RFC 8414) and WebFinger (RFC 7033) expect JSON here.
    "application/json": (
        "apple-app-site-association oauth-authorization-server oauth-protected-resource"
        " openid-configuration webfinger"
    ),
}
"""Well-known file names without a suffix, in lower case."""

_CODED = {"svgz": "gzip"}
"""Suffixes of files whose type holds after decompression (SVG 1.1 section 1.2)."""

_WORD = r"[\w!#$%&'*+.^`|~-]+"
_MEDIA_TYPE = re.compile(
    rf"{_WORD}/{_WORD}(?: ?; ?{_WORD}=(?:{_WORD}|\"[\w !#-.:-@^-~]*\"))*", re.ASCII
)
_SUFFIX = re.compile(r"\.?(?P<suffix>[^\s./=]+)")
_CHARSET = re.compile(r"[A-Za-z0-9!#$%&'+^_`{}~-]+")  # RFC 2978 section 2.3


class AddedType(NamedTuple):
    """A media type that the user adds for a suffix (lower case, without the dot)."""

    suffix: str
    media_type: str


def parse_added_type(text: str) -> AddedType | None:
    """Parse "SUFFIX=TYPE"; None if it is malformed."""
    suffix, _, media_type = text.partition("=")
    match = _SUFFIX.fullmatch(suffix)
    if not match or not _MEDIA_TYPE.fullmatch(media_type):
        return None
    return AddedType(match["suffix"].lower(), media_type)


def is_charset(text: str) -> bool:
    """Tell whether text is a valid charset name."""
    return _CHARSET.fullmatch(text) is not None


class MediaType(NamedTuple):
    """The Content-Type of a file, and the content coding that its bytes already have."""

    value: str
    coding: str = "identity"


_UNKNOWN = MediaType("application/octet-stream")


def _encoded(name: str) -> bytes:
    return name.encode(errors="surrogateescape")


class MediaTypes:
    """Maps file names to media types: the built-in table and the user's additions.

    charset: added to every text type that does not name its own; None adds none. Other types get
    no charset: XML declares its own, and a parameter would override that (RFC 7303 section 3).
    """

    def __init__(self, added: Iterable[AddedType] = (), charset: str | None = "utf-8") -> None:
        self._charset = charset
        self._by_suffix = self._by_key(_TYPES) | {
            _encoded(suffix): MediaType(self._with_charset(value)) for suffix, value in added
        }
        self._by_name = self._by_key(_FILE_NAMES)

    def for_name(self, name: bytes) -> MediaType:
        """Return the media type for a file name; application/octet-stream if it is unknown."""
        stem, _, suffix = name.rpartition(b".")
        if not stem:
            return self._by_name.get(name.lower(), _UNKNOWN)
        if suffix in self._by_suffix:  # most are in lower case, and take no call
            return self._by_suffix[suffix]
        return self._by_suffix.get(suffix.lower(), _UNKNOWN)

    def knows_suffix(self, name: bytes) -> bool:
        """Tell whether a file name has a suffix whose media type is known."""
        stem, _, suffix = name.rpartition(b".")
        return bool(stem) and suffix.lower() in self._by_suffix

    def _by_key(self, table: Mapping[str, str]) -> dict[bytes, MediaType]:
        return {
            _encoded(name): MediaType(self._with_charset(value), _CODED.get(name, "identity"))
            for value, names in table.items()
            for name in names.split()
        }

    def _with_charset(self, value: str) -> str:
        lowered = value.lower()
        if self._charset is None or not lowered.startswith("text/"):
            return value
        if lowered.startswith("text/xml") or "charset=" in lowered:
            return value
        return f"{value}; charset={self._charset}"
