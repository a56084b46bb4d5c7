"""Links as plain values: what each leads to, when it ends, what of it is being delivered."""

import os
import re
import secrets
from hashlib import sha256
from typing import NamedTuple

_TOKEN_BYTES = 18
_TOKEN = re.compile(r"[A-Za-z0-9_-]{24}")
_ID_LENGTH = 12


class Link(NamedTuple):
    """A link to a file or folder.

    key: what the store knows it by; no one can find its URL by that. path: of the file or folder on
    the disk. created, expires: POSIX seconds, None for never. limit: how many downloads it is for,
    None for any number. downloads: how many have been completed.
    """

    key: str
    path: bytes
    created: int
    expires: int | None = None
    limit: int | None = None
    downloads: int = 0

    @property
    def name(self) -> bytes:
        """What its URL ends with, if it is for a file: the name of that, or of the folder."""
        return os.path.basename(self.path) or b"files"  # noqa: PTH119 - bytes

    @property
    def id(self) -> str:
        """What users name it by, to revoke it."""
        return self.key[:_ID_LENGTH]

    def has_ended(self, now: int) -> bool:
        """Tell whether it leads nowhere any more. now: POSIX seconds."""
        return self.is_used_up or (self.expires is not None and self.expires <= now)

    @property
    def is_used_up(self) -> bool:
        """Whether all downloads that it is for have been completed."""
        return self.limit is not None and self.downloads >= self.limit


class Piece(NamedTuple):
    """The bytes [start, stop) of one state of a file, in a response.

    version: names the file and its state. size: of all of it, at least 1; as Coverage has it.
    """

    version: str
    size: int
    start: int
    stop: int


class Delivery(NamedTuple):
    """A piece that is being delivered. number: of its entry in the store, 0 for none."""

    link: str
    piece: Piece
    number: int = 0

    def part(self, count: int) -> Piece | None:
        """Return what was delivered if the response was truncated, None for nothing.

        count: bytes of its body that were sent. The last byte is never among them: some of what was
        sent may not have arrived, and only a whole response says that all is there.
        """
        start, stop = self.piece.start, min(self.piece.start + count, self.piece.stop - 1)
        return self.piece._replace(stop=stop) if stop > start else None


class LinkEndedError(Exception):
    """A link that leads nowhere any more, or never has."""


class LinkBusyError(Exception):
    """All downloads that are left of a link are under way."""


class StoreError(Exception):
    """The store cannot be used. The message is one line."""


def new_token() -> str:
    """Return what is secret in the URL of a new link: 144 random bits."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def key_of(token: str) -> str:
    """Return what the store knows a token by, "" for a text that is none."""
    return sha256(token.encode()).hexdigest() if _TOKEN.fullmatch(token) else ""
