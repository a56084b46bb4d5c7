"""The rows of a CSV file, from which users take their data."""

import csv
import io
import random
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Literal

Row = dict[str, str]
Order = Literal["shared", "sequential", "random"]
SEED = 20_260_101


class RowsError(ValueError):
    """A file that has no rows, or an order that is not known."""


class Rows:
    """The rows of a CSV file, whose first line has the names of the columns.

    `path` is relative to the scenario's file. `order` says which row a user gets:

    - "shared": the next one that no user has had; after the last one, the first again. Processes
      deal out rows that are not the same: of two, one deals out the first, third and fifth.
    - "sequential": each user starts with the first row, and goes on to the next.
    - "random": any row, by the `seed`: the same ones in each run with as many users.
    """

    def __init__(self, path: str, order: Order = "shared", *, seed: int = SEED) -> None:
        if order not in {"shared", "sequential", "random"}:
            raise RowsError(f"the order {order!r} is not shared, sequential or random")
        self.order = order
        files = _data.get()
        self._rows = parse(path, files.read(path) if files else Path(path).read_bytes())
        self._seed = seed
        self._taken = 0
        self._taken_by: dict[int, int] = {}
        self._random: dict[int, random.Random] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __getitem__(self, index: int) -> Row:
        return self._rows[index]

    def row_for(self, number: int, part: int = 0, parts: int = 1) -> Row:
        """Return the next row for the user with a number, who is in share `part` of `parts`."""
        if self.order == "random":
            if number not in self._random:
                self._random[number] = random.Random(f"{self._seed}-{number}")  # noqa: S311
            return self._random[number].choice(self._rows)
        if self.order == "sequential":
            index = self._taken_by.get(number, 0)
            self._taken_by[number] = index + 1
        else:
            index = part + self._taken * parts
            self._taken += 1
        return self._rows[index % len(self._rows)]


def parse(name: str, content: bytes) -> list[Row]:
    """Return the rows of a CSV file; raises RowsError with the line of what is wrong."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RowsError(f"{name}:{line}: it is not UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        names = next(reader, [])
        rows = [_row(name, reader.line_num, names, cells) for cells in reader if cells]
    except csv.Error as error:
        raise RowsError(f"{name}:{reader.line_num}: {error}") from None
    if not rows:
        raise RowsError(f"{name}: it has no row below the names of its columns")
    return rows


def _row(name: str, line: int, names: list[str], cells: list[str]) -> Row:
    if len(cells) != len(names):
        raise RowsError(f"{name}:{line}: {len(cells)} values for {len(names)} columns")
    return dict(zip(names, cells, strict=True))


class DataFiles:
    """The data files of a scenario that is being loaded, of which `known` need not be read.

    `directory` is that of the scenario's file.
    """

    def __init__(self, directory: Path, known: MutableMapping[str, bytes]) -> None:
        self._directory = directory
        self._known = known

    def read(self, path: str) -> bytes:
        """Return the content of a file, and note it; raises OSError."""
        if path not in self._known:
            self._known[path] = (self._directory / path).read_bytes()
        return self._known[path]


_data: ContextVar[DataFiles | None] = ContextVar("data files", default=None)


@contextmanager
def data_files(directory: Path, known: MutableMapping[str, bytes]) -> Iterator[None]:
    """Have Rows read the files of a scenario, whose content is put into `known`."""
    token = _data.set(DataFiles(directory, known))
    try:
        yield
    finally:
        _data.reset(token)
