"""Entity tags made of what is in a file: several machines with copies of it have the same."""

import os

from aserve.filesystem.opened_file import OpenFile, validator_of
from aserve.filesystem.writing.digest_cache import DigestCache
from aserve.http.resources import NO_TAG, Validator

_ALGORITHM = "sha-256"
_TAG_SIZE = 16  # bytes of the hash: two files with one tag are as unlikely as a lost disk


class ContentTags:
    """Makes the validators of files from hashes, which are remembered until a file changes.

    Any thread may use it.
    """

    def __init__(self, digests: DigestCache) -> None:
        self._digests = digests

    def __call__(self, status: os.stat_result, file: OpenFile) -> Validator:
        """Return the validator of an open file in a state, which is read for it if need be.

        One that has changed since, or that is large while others are being read, has no tag for
        now. Raises BlockingIOError where it would have to be read and that may not be waited for,
        and OSError.
        """
        digest = self._digests.get(status, _ALGORITHM)
        if digest is None:
            if not file.may_wait:
                raise BlockingIOError
            digest = self._digests.compute(file.fileno(), _ALGORITHM, status)
        tag = f'"{digest[:_TAG_SIZE].hex()}"' if digest else NO_TAG
        return validator_of(status)._replace(etag=tag)
