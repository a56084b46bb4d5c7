"""The tables in which links are kept, and the file with them."""

import os
import sqlite3
import time
from pathlib import Path

from aserve.shares.links import StoreError

BUSY_TIMEOUT_S = 5.0
"""How long another process may write. Each writes a few rows at a time."""

_VERSION = 1
_APPLICATION_ID = 0x41536C6B  # "ASlk": tells the file from other databases
_TRIES, _PAUSE_S = 50, 0.02

# begun: files that were delivered in part, the last one at the end. under_way: what responses are
# delivering now of links with a limit.
_TABLES = (
    """CREATE TABLE links (
        key TEXT PRIMARY KEY, path BLOB NOT NULL, created INTEGER NOT NULL, expires INTEGER,
        max_downloads INTEGER, downloads INTEGER NOT NULL, used_up_at INTEGER)""",
    """CREATE TABLE begun (
        number INTEGER PRIMARY KEY, link TEXT NOT NULL REFERENCES links ON DELETE CASCADE,
        version TEXT NOT NULL, coverage TEXT NOT NULL, UNIQUE (link, version))""",
    """CREATE TABLE under_way (
        number INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL,
        link TEXT NOT NULL REFERENCES links ON DELETE CASCADE,
        version TEXT NOT NULL, size INTEGER NOT NULL,
        start INTEGER NOT NULL, stop INTEGER NOT NULL)""",
    "CREATE INDEX under_way_of_link ON under_way (link)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_VERSION}",
)


def open_database(file: Path) -> sqlite3.Connection:
    """Return the database in a file, which is made if need be, for its user alone.

    Raises sqlite3.Error and OSError; StoreError if something else is in the file.
    """
    file.parent.mkdir(0o700, parents=True, exist_ok=True)
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(
        file, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        _prepare(database, file)
        _use_wal(database)
        database.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        database.close()
        raise
    return database


def _use_wal(database: sqlite3.Connection) -> None:
    """Have readers not wait for a writer. SQLite itself does not wait to begin with that."""
    for _ in range(_TRIES):
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            last = error
            time.sleep(_PAUSE_S)
        else:
            return
    raise last


def _prepare(database: sqlite3.Connection, file: Path) -> None:
    """Make the tables, unless they are there."""
    if _version(database) == _VERSION:
        return
    database.execute("BEGIN IMMEDIATE")
    if _version(database) != _VERSION:  # no other process has made them meanwhile
        if database.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            raise StoreError(f"{file} is no store of links, or that of another version")
        for statement in _TABLES:
            database.execute(statement)
    database.execute("COMMIT")


def _version(database: sqlite3.Connection) -> int:
    (application_id,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    return int(version) if application_id == _APPLICATION_ID else 0
