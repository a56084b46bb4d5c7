"""No call into C works on a whole folder: until it returns, the event loop cannot run.

What is counted is how many items a built-in function consumes before Python code runs again, where
another thread can have the interpreter. It is the same on any machine.
"""

import builtins
import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator
from itertools import count
from operator import itemgetter
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest

import aserve.filesystem
import aserve.handlers.archive
import aserve.handlers.dav
import aserve.handlers.listing
from aserve.filesystem import natural_order, steps
from aserve.filesystem.combined import CombinedFileSystem, Member
from aserve.filesystem.directory import Directory, FileSystem
from aserve.filesystem.steps import MAX_AT_ONCE, in_steps
from tests.aserve.handlers.listing_site import ListedSite

MOST = steps._BATCH
"""The items between two looks at the clock, which are the most that may be worked on at once."""

FILES = 3 * MOST

SPIED = ("all", "any", "dict", "frozenset", "list", "max", "min", "set", "sorted", "sum", "tuple")


class Spy:
    """Counts what built-in functions consume while no Python code runs."""

    def __init__(self) -> None:
        self.most = 0
        self._running: list[tuple[Iterator[int], list[int]]] = []

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if len(arguments) != 1 or isinstance(arguments[0], bytes):  # or of a few that are named
                return function(*arguments, **options)
            numbers = count()
            self._running.append((numbers, [0]))
            try:
                # All of it is C, so it makes no event of its own.
                return function(
                    map(itemgetter(0), zip(arguments[0], numbers, strict=False)), **options
                )
            finally:
                self._look()
                self._running.pop()

        return call

    def watch(self, work: Callable[[], Any]) -> int:
        """Return how many items were worked on at once, at most."""
        self.most = 0
        sys.setprofile(self._on_event)
        try:
            work()
        finally:
            sys.setprofile(None)
        return self.most

    def _on_event(self, _frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and self._running:
            self._look()

    def _look(self) -> None:
        for numbers, seen in self._running:
            consumed = int(repr(numbers)[len("count(") : -1])
            self.most = max(self.most, consumed - seen[0])
            seen[0] = consumed


def modules() -> Iterator[ModuleType]:
    """Yield all modules that work on folders."""
    handlers = aserve.handlers
    for package in (aserve.filesystem, handlers.listing, handlers.archive, handlers.dav):
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(found.name)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    spy = Spy()
    for module in (*modules(), sys.modules[__name__]):
        for name in SPIED:
            monkeypatch.setattr(module, name, spy.wrap(getattr(builtins, name)), raising=False)
    monkeypatch.setattr(natural_order, "_STEP", MOST // 2)
    return spy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folder")
    for number in range(FILES):
        (root / f"{number}.txt").write_bytes(b"text")
    (root / "below").mkdir()
    (root / "README.md").write_text("# Text")
    return root


@pytest.fixture(params=["directory", "combined"])
def files(request: pytest.FixtureRequest, folder: Path) -> FileSystem:
    directory = Directory(folder)
    if request.param == "directory":
        return directory
    member = Member(directory, bytes(folder), is_directory=True)
    return CombinedFileSystem({(): member, (b"another",): member})


@pytest.mark.parametrize(
    "query",
    [
        "",
        "sort=size&order=desc",
        "q=*.txt",
        "deep=1&q=1&sort=time",
        "format=json&limit=10&offset=100",
        "archive=zip",
        "archive=tar&name=1.txt&name=below",
    ],
)
def test_no_call_works_on_a_whole_folder(spy: Spy, files: FileSystem, query: str) -> None:
    site, statuses = ListedSite(files, lists_all=True), []
    method = "HEAD" if "archive" in query else "GET"  # it is laid out before the first byte
    most = spy.watch(lambda: statuses.append(site.get(f"/?{query}", method).status))
    assert statuses == [200]
    assert most <= MOST


def test_no_call_describes_a_whole_folder(spy: Spy, files: FileSystem) -> None:
    members: list[str] = []
    site = ListedSite(files)
    most = spy.watch(lambda: members.extend(site.members("/")))
    assert len(members) >= FILES
    assert most <= MOST


@pytest.mark.parametrize(
    ("work", "most"),
    [
        (lambda names: sorted(names), FILES),  # noqa: PLW0108 - looked up when it is spied on
        (lambda names: set(names), FILES),  # noqa: PLW0108
        (lambda names: sum(map(len, names)), FILES),
        (lambda names: list(in_steps(names)), MOST),
        (lambda names: sum(len(name) for name in names), 1),
    ],
)
def test_the_spy_sees_what_works_on_all(spy: Spy, work: Callable[[Any], Any], most: int) -> None:
    assert spy.watch(lambda: work([b"name"] * FILES)) == most


def test_a_sort_is_of_as_many_as_may_be_at_once() -> None:
    assert 2 * natural_order._STEP <= MAX_AT_ONCE
