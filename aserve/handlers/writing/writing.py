"""What all methods that write share."""

from typing import NamedTuple

from aserve.filesystem.writing.digest_cache import DigestCache
from aserve.handlers.handler import RequestContext
from aserve.handlers.writing.allowed import AllowedMethods, not_allowed
from aserve.handlers.writing.tree import WritableTree
from aserve.http.messages import HttpError, Request
from aserve.http.request_target import TargetPath, parse_path


class Writing(NamedTuple):
    """What all methods that write share.

    max_upload: bytes of a body. digests: remembers the hashes of what was written.
    """

    tree: WritableTree
    allowed: AllowedMethods
    max_upload: int
    decode_slashes: bool
    digests: DigestCache

    def path_of(self, request: Request) -> TargetPath:
        """Return the path of a request; raises HttpError."""
        return parse_path(request.target, decode_slashes=self.decode_slashes)

    def not_allowed(self, request: Request, context: RequestContext, detail: str) -> HttpError:
        """Return the 405 to a request, with the methods that its path has now."""
        return not_allowed(self.allowed(request, context), detail)
