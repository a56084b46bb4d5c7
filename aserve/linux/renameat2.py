"""renameat2(2): rename a file unless the new name is taken."""

import errno
import os

from aserve.linux.libc import check, libc, os_error

RENAME_NOREPLACE = 1

_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM})


def rename_noreplace(source: int, name: bytes, target: int, new_name: bytes) -> None:
    """Rename a file or a directory; each name is in an open directory.

    Raises FileExistsError where the new name is taken, whatever is there. The question and the
    rename are one step of the kernel, except where the C library or the file system does not know
    such a step (NFS, some FUSE file systems): there another process can take the name in between,
    and a file of its is replaced. Raises OSError.
    """
    if hasattr(libc, "renameat2"):
        try:
            check(libc.renameat2(source, name, target, new_name, RENAME_NOREPLACE))
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        else:
            return
    if _is_there(target, new_name):
        raise os_error(errno.EEXIST)
    os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)


def _is_there(directory: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
