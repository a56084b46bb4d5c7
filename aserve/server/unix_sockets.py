"""Unix sockets: one listens for all workers, and its file is there for as long as it does."""

import errno
import os
import socket
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from aserve.config.unix_address import UnixAddress, group_id

_FileIdentity = tuple[int, int]  # device and inode
_NO_SOCKET = "a file is there that is no socket"


def open_unix_socket(address: UnixAddress, backlog: int) -> socket.socket:
    """Return a socket that listens; raises OSError, whose strerror says what is in the way.

    A socket that was left behind by a server that was killed is replaced. No one can connect
    before listen is called, and so no one whom the mode of the file excludes.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if address.is_abstract:
            listener.bind(address.socket_address)
        else:
            _remove_stale(address.name)
            listener.bind(address.name)
            _set_access(address)
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise OSError(error.errno, "a server listens there already") from error
        raise
    return listener


def _remove_stale(path: str) -> None:
    """Remove a socket that no one listens on; raises OSError for any other file."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):  # connect would be refused as by a socket that no one listens on
        raise OSError(errno.EEXIST, _NO_SOCKET)
    if _is_served(path):
        raise OSError(errno.EADDRINUSE, "")
    Path(path).unlink()


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError as error:
            # Its queue is full, or it is no stream: another process has it.
            if error.errno not in {errno.EAGAIN, errno.EPROTOTYPE}:
                raise
    return True


def _set_access(address: UnixAddress) -> None:
    """Give the file of a socket its group and its mode; if that fails, remove it.

    By its descriptor, since the name may have become that of another file meanwhile.
    """
    descriptor = os.open(address.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise FileExistsError(errno.EEXIST, _NO_SOCKET)
        opened = f"/proc/self/fd/{descriptor}"
        if address.group:
            os.chown(opened, -1, group_id(address.group))
        Path(opened).chmod(address.mode)
    except FileExistsError:
        raise
    except OSError:
        Path(address.name).unlink()
        raise
    finally:
        os.close(descriptor)


class SocketFiles:
    """The files of Unix sockets, as they are when this is made."""

    def __init__(self, listeners: Iterable[socket.socket]) -> None:
        self._identities = {path: _identity(path) for path in _paths_of(listeners)}

    def remove(self, in_use: Iterable[socket.socket] = ()) -> None:
        """Remove the files that are still these, once. in_use: sockets whose files stay.

        The next file of a name may well have the same inode.
        """
        for path in self._identities.keys() - _paths_of(in_use):
            identity = self._identities.pop(path)
            with suppress(OSError):
                if _identity(path) == identity:
                    Path(path).unlink()


def _paths_of(listeners: Iterable[socket.socket]) -> set[str]:
    names = {one.getsockname() for one in listeners if one.family == socket.AF_UNIX}
    return {name for name in names if isinstance(name, str) and name}


def _identity(path: str) -> _FileIdentity | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
