"""Where links are kept: one file for all processes that serve them, and the command.

SQLite, since its transactions hold between processes and survive a kill at any moment. What is
being delivered of a link with a limit has an entry before its first byte is sent: so no more is
ever under way than is left, and what a process that was killed has delivered counts.
"""

import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

from aserve.shares.coverage import Coverage
from aserve.shares.links import (
    Delivery,
    Link,
    LinkBusyError,
    LinkEndedError,
    Piece,
    StoreError,
    key_of,
    new_token,
)
from aserve.shares.owners import current_owner, is_alive
from aserve.shares.schema import open_database

MAX_LINKS = 10_000
MAX_UNDER_WAY = 256
"""Deliveries at once of a link with a limit: each new one looks at all others."""
MAX_BEGUN = 64
"""Files of a link that were delivered in part. If it has a limit, the oldest of more counts."""
KEPT_S = 30 * 86_400
"""How long a link that has ended is listed."""

_ALL_LINKS = "SELECT key, path, created, expires, max_downloads, downloads FROM links"


class ShareStore:
    """The links in one file. Any thread may use it, also of a process that was forked.

    All methods may wait, for the disk and for other processes. Each raises StoreError where the
    file cannot be used. now: POSIX seconds.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._pid = 0  # of the process that has opened it
        self._is_closed = False

    def add(
        self, path: bytes, now: int, expires: int | None = None, limit: int | None = None
    ) -> tuple[str, Link]:
        """Return a new link, and what is secret in its URL. path: absolute."""
        token = new_token()
        link = Link(key_of(token), path, now, expires, limit)
        with self._transaction() as database:
            _drop_old(database, now)
            (count,) = database.execute("SELECT count(*) FROM links").fetchone()
            if count >= MAX_LINKS:
                raise StoreError(f"{self.file} has {count:,} links: revoke some of them")
            database.execute("INSERT INTO links VALUES (?, ?, ?, ?, ?, ?, NULL)", link)
        return token, link

    def find(self, token: str, now: int) -> Link | None:
        """Return the link of a token, None if there is none or it has ended."""
        key = key_of(token)
        if not key:
            return None
        with self._use() as database:
            link = _find(database, key)
        return None if link is None or link.has_ended(now) else link

    def all_links(self, now: int) -> Sequence[Link]:
        """Return all links, the oldest first, also those that have ended and are not dropped."""
        with self._transaction() as database:
            for (key,) in database.execute("SELECT DISTINCT link FROM under_way").fetchall():
                _settle(database, key, now)
            return sorted(_links(database), key=lambda link: (link.created, link.key))

    def revoke(self, link_id: str) -> Link | None:
        """Delete the link of an id, and return it; None if there is none."""
        with self._transaction() as database:
            link = next((one for one in _links(database) if one.id == link_id), None)
            if link:
                database.execute("DELETE FROM links WHERE key = ?", (link.key,))
            return link

    def begin(self, link: Link, piece: Piece, now: int) -> Delivery:
        """Note that a piece is going to be delivered.

        Raises LinkEndedError if the link has ended meanwhile, and LinkBusyError if the limit would
        be exceeded once all was delivered that is under way.
        """
        if link.limit is None:  # nothing can be exceeded
            return Delivery(link.key, piece)
        with self._transaction() as database:
            _settle(database, link.key, now)
            current = _find(database, link.key)
            if current is None or current.has_ended(now):
                raise LinkEndedError
            _check_left(database, current, piece)
            cursor = database.execute(
                "INSERT INTO under_way (link, version, size, start, stop, owner)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (link.key, *piece, current_owner()),
            )
            return Delivery(link.key, piece, cursor.lastrowid or 0)

    def end(self, delivery: Delivery, delivered: Piece | None, now: int) -> None:
        """Count what was delivered, None for nothing. Of a link that was revoked, nothing is."""
        if not (delivered or delivery.number):
            return
        # If a power failure takes this back, what is left is the entry of a process that has ended.
        with self._transaction(is_durable=False) as database:
            if delivery.number:
                sql = "DELETE FROM under_way WHERE number = ?"
                if not database.execute(sql, (delivery.number,)).rowcount:
                    return  # it was counted, or the link is revoked
            if delivered:
                _count(database, delivery.link, delivered, now)

    def close(self) -> None:
        """Close the file. A response that ends later opens it once more for itself."""
        with self._lock:
            self._is_closed = True
            self._close_connection()

    @contextmanager
    def _transaction(self, *, is_durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Return the database, of which no other process writes anything meanwhile.

        is_durable: whether what is written is on the disk afterwards, for which that is waited.
        """
        with self._use() as database:
            database.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                with suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    @contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._open()
            except (sqlite3.Error, OSError) as error:
                self._close_connection()  # whatever state it is in
                raise StoreError(f"{self.file} cannot be used: {error}") from error
            finally:
                if self._is_closed:
                    self._close_connection()

    def _open(self) -> sqlite3.Connection:
        if self._pid != os.getpid():  # a connection must not be used, nor closed, behind a fork
            self._connection, self._pid = None, os.getpid()
        if self._connection is None:
            self._connection = open_database(self.file)
        return self._connection

    def _close_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection and self._pid == os.getpid():
            connection.close()


def _links(database: sqlite3.Connection) -> Iterator[Link]:
    return (Link(*row) for row in database.execute(_ALL_LINKS).fetchall())


def _find(database: sqlite3.Connection, key: str) -> Link | None:
    row = database.execute(f"{_ALL_LINKS} WHERE key = ?", (key,)).fetchone()
    return Link(*row) if row else None


def _drop_old(database: sqlite3.Connection, now: int) -> None:
    """Delete links that ended long ago."""
    database.execute(
        "DELETE FROM links WHERE expires <= ? OR used_up_at <= ?", (now - KEPT_S, now - KEPT_S)
    )


def _check_left(database: sqlite3.Connection, link: Link, piece: Piece) -> None:
    """Raise LinkBusyError if a piece could lead to more downloads than a link is for."""
    pieces = [*_under_way(database, link.key), piece]
    if len(pieces) > MAX_UNDER_WAY:
        raise LinkBusyError
    by_version: defaultdict[str, list[Piece]] = defaultdict(list)
    for one in pieces:
        by_version[one.version].append(one)
    downloads = link.downloads
    for same in by_version.values():
        coverage = _coverage(database, link.key, same[0])
        for one in same:
            coverage = coverage.add(one.start, one.stop)
        downloads += coverage.copies
    if link.limit is not None and downloads > link.limit:
        raise LinkBusyError


def _under_way(database: sqlite3.Connection, key: str) -> Iterator[Piece]:
    sql = "SELECT version, size, start, stop FROM under_way WHERE link = ?"
    return (Piece(*row) for row in database.execute(sql, (key,)).fetchall())


def _settle(database: sqlite3.Connection, key: str, now: int) -> None:
    """Count what processes had under way that were killed: it may have been delivered."""
    sql = "SELECT number, owner, version, size, start, stop FROM under_way WHERE link = ?"
    rows: Sequence[Any] = database.execute(sql, (key,)).fetchall()
    dead = {owner for owner in {row[1] for row in rows} if not is_alive(owner)}
    for number, owner, *piece in rows:
        if owner in dead:
            database.execute("DELETE FROM under_way WHERE number = ?", (number,))
            _count(database, key, Piece(*piece), now)


def _count(database: sqlite3.Connection, key: str, piece: Piece, now: int) -> None:
    """Add a piece to what was delivered of a link, and the copies that are whole by it."""
    link = _find(database, key)
    if link is None:  # it was revoked
        return
    coverage = _coverage(database, key, piece).add(piece.start, piece.stop)
    rest = coverage.without_copies()
    database.execute("DELETE FROM begun WHERE link = ? AND version = ?", (key, piece.version))
    if rest != Coverage.of_size(piece.size):
        row = (key, piece.version, rest.encode())
        database.execute("INSERT INTO begun (link, version, coverage) VALUES (?, ?, ?)", row)
    dropped = _drop_begun(database, key)
    _add_downloads(database, key, coverage.copies + (dropped if link.limit else 0), now)


def _coverage(database: sqlite3.Connection, key: str, piece: Piece) -> Coverage:
    sql = "SELECT coverage FROM begun WHERE link = ? AND version = ?"
    row = database.execute(sql, (key, piece.version)).fetchone()
    return Coverage.decode(row[0]) if row else Coverage.of_size(piece.size)


def _drop_begun(database: sqlite3.Connection, key: str) -> int:
    """Forget the oldest of too many files that were delivered in part; return how many."""
    sql = (
        "DELETE FROM begun WHERE link = ? AND number NOT IN"
        " (SELECT number FROM begun WHERE link = ? ORDER BY number DESC LIMIT ?)"
    )
    return database.execute(sql, (key, key, MAX_BEGUN)).rowcount


def _add_downloads(database: sqlite3.Connection, key: str, count: int, now: int) -> None:
    if count:
        database.execute(
            "UPDATE links SET downloads ="
            " min(downloads + ?, coalesce(max_downloads, downloads + ?)) WHERE key = ?",
            (count, count, key),
        )
        database.execute(
            "UPDATE links SET used_up_at = ? WHERE key = ? AND downloads >= max_downloads",
            (now, key),
        )
