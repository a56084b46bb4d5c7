"""Any sequence of changes does to the disk what it does to a dictionary, and all is counted."""

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.filesystem.writing import errors
from aserve.filesystem.writing.limits import WriteLimits
from aserve.filesystem.writing.storage import Storage
from aserve.filesystem.writing.usage import Usage
from aserve.http.request_target import TargetPath
from tests.aserve.filesystem.writing.storages import anything, contents, put, target

QUOTA = 60
NAMES = ("a", "b", "folder/a", "folder/b")
PATHS = st.sampled_from(NAMES)
DATA = st.binary(max_size=20)
CHANGES = st.one_of(
    st.tuples(st.just("put"), PATHS, DATA),
    st.tuples(st.just("abort"), PATHS, DATA),
    st.tuples(st.just("parts"), PATHS, DATA),
    st.tuples(st.just("delete"), PATHS),
    st.tuples(st.just("move"), PATHS, PATHS),
)


class Both:
    """A storage, and the dictionary that it should be like."""

    def __init__(self, root: Path) -> None:
        self.storage = Storage(root, limits=WriteLimits(quota=QUOTA), fsync=False)
        # Nothing is counted a second time: what is told of each change must be enough.
        self.usage = self.storage._space.usage = Usage(root, clock=lambda: 0.0)
        self.usage.refresh(tuple)
        self.files: dict[str, bytes] = {}

    def put(self, path: str, data: bytes) -> None:
        after = {**self.files, path: data}
        if sum(map(len, after.values())) > QUOTA:
            with pytest.raises(errors.QuotaExceeded):
                put(self.storage, path, data)
            return
        put(self.storage, path, data)
        self.files = after

    def abort(self, path: str, data: bytes) -> None:
        file = self.storage.begin(target(path))
        with suppress(errors.QuotaExceeded):
            file.write(data)
        file.abort()

    def parts(self, path: str, data: bytes) -> None:
        directory = TargetPath(target(path).segments[:-1], is_directory=True)
        file = self.storage.begin_partial(target(path), None, {})
        try:
            for start in range(0, len(data), 7):
                file.write(data[start : start + 7])
                file.abort()
                file = self.storage.resume(directory, file.token)
            file.commit(anything)
            self.files[path] = data
        except errors.QuotaExceeded:
            self.storage.resume(directory, file.token).discard()

    def delete(self, path: str) -> None:
        with suppress(errors.Missing):
            self.storage.delete(target(path), anything)
            del self.files[path]

    def move(self, path: str, new_path: str) -> None:
        with suppress(errors.Missing, errors.Exists):
            self.storage.move(target(path), target(new_path), anything)
            self.files[new_path] = self.files.pop(path)


@given(st.lists(CHANGES, max_size=12))
def test_any_changes(changes: list[Any]) -> None:
    with TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "folder").mkdir()
        both = Both(root)
        for name, *arguments in changes:
            getattr(both, name)(*arguments)
            assert contents(root) == both.files
            assert both.usage.size == sum(map(len, both.files.values()))
