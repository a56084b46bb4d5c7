"""What counts as a download: a file, or a folder as an archive, that a client has got whole."""

from aserve.http.messages import Request

_OWN_PREFIX = "/.aserve/"
_WHOLE_FILE = "bytes=0-"  # as browsers ask for films, and curl -C - for what it has nothing of yet


def is_download(request: Request, status: int, *, truncated: bool) -> bool:
    """Tell whether a response, which has ended, was a download to its last byte.

    Pages of folders are none, nor are parts of a file: who resumes a download gets what is left,
    and whether that completes it only the client knows.
    """
    if truncated or request.method != "GET" or not _is_file(request.target):
        return False
    return status == 200 or (status == 206 and request.headers.get("range") == _WHOLE_FILE)


def _is_file(target: str) -> bool:
    path, _, query = target.partition("?")
    is_archive = any(part.startswith("archive=") for part in query.split("&"))
    return is_archive or not (path.endswith("/") or path.startswith(_OWN_PREFIX))
