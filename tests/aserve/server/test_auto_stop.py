"""When a server ends by itself: with a clock that the test moves, and processes that share."""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress

import pytest

from aserve.config.stop_limits import StopAfter
from aserve.http.messages import Request
from aserve.server.auto_stop import LOOK_AGAIN_S, AutoStop, StopConditions, Tally
from aserve.transport.observers import ResponseObserver, SignalledObserver

FILE = Request("GET", "/a.txt")
PORTS = {8_000}


class Loop:
    """Time, and what is to be called: as the control of a server, which a test moves on."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.reasons: list[str] = []
        self.connected = False
        self._due: list[tuple[float, Callable[[], object]]] = []
        self._readers: dict[int, Callable[[], object]] = {}

    def call_later(self, seconds: float, call: Callable[[], object]) -> None:
        assert seconds > 0
        self._due.append((self.now + seconds, call))

    def call_when_readable(self, descriptor: int, call: Callable[[], object]) -> None:
        self._readers[descriptor] = call

    def is_connected(self, ports: Collection[int]) -> bool:
        assert ports == PORTS
        return self.connected

    def watch(self, conditions: StopConditions, descriptors: tuple[int, ...] = ()) -> AutoStop:
        auto_stop = AutoStop(conditions, descriptors, lambda: self.now, self.is_connected)
        auto_stop.use(self, self.reasons.append, lambda: PORTS)
        return auto_stop

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and call in order what is due by then."""
        until = self.now + seconds
        while due := sorted((one for one in self._due if one[0] <= until), key=lambda one: one[0]):
            self._due.remove(due[0])
            self.now, call = due[0]
            call()
        self.now = until

    def read(self) -> None:
        for call in self._readers.values():
            call()

    @property
    def is_waiting(self) -> bool:
        return bool(self._due)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture(autouse=True)
def _closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the descriptors of tallies, which a server has until its end."""
    opened: list[int] = []
    make = Tally.__init__

    def noted(self: Tally, *arguments: object) -> None:
        make(self, *arguments)  # type: ignore[arg-type]
        opened.extend(self.descriptors)

    monkeypatch.setattr(Tally, "__init__", noted)
    yield
    for descriptor in set(opened):
        with suppress(OSError):
            os.close(descriptor)


def observer_of(auto_stop: AutoStop, other: ResponseObserver | None = None) -> ResponseObserver:
    observer = auto_stop.observing(other)
    assert observer
    return observer


def test_it_ends_after_a_time(loop: Loop) -> None:
    loop.watch(StopConditions(StopAfter(seconds=7_200), 0))
    loop.pass_time(7_199)
    assert loop.reasons == []
    loop.pass_time(1)
    assert loop.reasons == ["2 hours after its start"]
    assert not loop.is_waiting


def test_it_ends_after_downloads(loop: Loop) -> None:
    auto_stop = loop.watch(StopConditions(StopAfter(downloads=2), 0))
    observe = observer_of(auto_stop)
    observe("-", FILE, 200, 5, 0.0)
    observe("-", FILE._replace(method="HEAD"), 200, 0, 0.0)
    observe("-", FILE, 304, 0, 0.0)
    observe("-", FILE, 200, 3, 0.0, True)
    loop.read()
    assert loop.reasons == []
    assert not loop.is_waiting  # no timer: a download wakes it up
    observe("-", FILE, 200, 5, 0.0)
    loop.read()
    assert loop.reasons == ["2 downloads"]


def test_it_ends_once(loop: Loop) -> None:
    """A second stop would not wait for the responses that are being sent."""
    auto_stop = loop.watch(StopConditions(StopAfter(seconds=60, downloads=1), 0))
    for _ in range(3):
        observer_of(auto_stop)("-", FILE, 200, 5, 0.0)
        loop.read()
    loop.pass_time(120)
    assert loop.reasons == ["1 download"]


def test_it_ends_when_no_request_came_for_so_long(loop: Loop) -> None:
    auto_stop = loop.watch(StopConditions(StopAfter(), 600))
    for _ in range(5):
        loop.pass_time(599)
        observer_of(auto_stop)("-", FILE, 404, 0, 0.0)  # whatever the answer is
    loop.pass_time(599)
    assert loop.reasons == []
    loop.pass_time(1)
    assert loop.reasons == ["no request for 10 minutes"]


def test_no_one_who_is_connected_is_left(loop: Loop) -> None:
    """As with a download that takes longer, of which nothing is heard before its end."""
    auto_stop = loop.watch(StopConditions(StopAfter(), 600))
    loop.connected = True
    loop.pass_time(6_000)
    assert loop.reasons == []
    observer_of(auto_stop)("-", FILE, 200, 5, 0.0)
    loop.connected = False
    loop.pass_time(599)
    assert loop.reasons == []
    loop.pass_time(1 + LOOK_AGAIN_S)
    assert loop.reasons == ["no request for 10 minutes"]


def test_the_first_condition_ends_it(loop: Loop) -> None:
    loop.watch(StopConditions(StopAfter(seconds=300), 600))
    loop.pass_time(600)
    assert loop.reasons == ["5 minutes after its start"]


def test_a_program_that_takes_its_place_goes_on(loop: Loop) -> None:
    first = loop.watch(StopConditions(StopAfter(seconds=300, downloads=2), 0))
    observer_of(first)("-", FILE, 200, 5, 0.0)
    loop.read()
    loop.pass_time(200)
    later = Loop()
    later.now = loop.now
    descriptors = tuple(map(os.dup, first.descriptors))
    second = later.watch(StopConditions(StopAfter(seconds=300, downloads=2), 0), descriptors)
    later.pass_time(99)
    assert later.reasons == []
    observer_of(second)("-", FILE, 200, 5, 0.0)
    later.read()
    assert later.reasons == ["2 downloads"]
    third = Loop()
    third.now = loop.now
    third.watch(StopConditions(StopAfter(seconds=300), 0), tuple(map(os.dup, first.descriptors)))
    third.pass_time(100)
    assert third.reasons == ["5 minutes after its start"]


def test_all_that_have_its_descriptors_count_together(loop: Loop) -> None:
    """As the workers of a server do, which are processes."""
    auto_stop = loop.watch(StopConditions(StopAfter(downloads=300), 600))
    workers = []
    for _ in range(3):
        descriptors = tuple(map(os.dup, auto_stop.descriptors))
        workers.append(Loop().watch(StopConditions(StopAfter(downloads=300), 0), descriptors))
    for _ in range(100):
        for one in workers:
            observer_of(one)("-", FILE, 200, 5, 0.0)
    loop.read()
    assert loop.reasons == ["300 downloads"]


def test_a_request_of_any_of_them_counts(loop: Loop) -> None:
    auto_stop = loop.watch(StopConditions(StopAfter(), 600))
    worker = Loop()
    worker.now = loop.now + 50
    descriptors = tuple(map(os.dup, auto_stop.descriptors))
    observer_of(worker.watch(StopConditions(StopAfter(), 600), descriptors))("-", FILE, 200, 5, 0.0)
    loop.pass_time(649)
    assert loop.reasons == []
    loop.pass_time(1)
    assert loop.reasons == ["no request for 10 minutes"]


class Log:
    """An observer that another process writes for, as the log of a model that forks."""

    signals = frozenset({1})

    def __init__(self) -> None:
        self.heard: list[object] = []

    def __call__(self, *response: object) -> None:
        self.heard.append(response)

    def on_signal(self, number: int) -> None:
        self.heard.append(number)

    def on_exit(self, pid: int, how: str) -> None:
        self.heard.append((pid, how))


def test_another_observer_hears_the_same(loop: Loop) -> None:
    auto_stop = loop.watch(StopConditions(StopAfter(downloads=1), 0))
    heard: list[object] = []
    observer_of(auto_stop, lambda *response: heard.append(response))("c", FILE, 200, 5, 1.0)
    assert heard == [("c", FILE, 200, 5, 1.0, False)]
    loop.read()
    assert loop.reasons == ["1 download"]


def test_another_observer_that_wants_signals_still_gets_them(loop: Loop) -> None:
    log = Log()
    both = observer_of(loop.watch(StopConditions(StopAfter(), 60)), log)
    assert isinstance(both, SignalledObserver)
    assert both.signals == {1}
    both.on_signal(1)
    both.on_exit(7, "exit code 0")
    both("c", FILE, 200, 5, 1.0, True)
    assert log.heard == [1, (7, "exit code 0"), ("c", FILE, 200, 5, 1.0, True)]


def test_a_time_alone_needs_no_observer(loop: Loop) -> None:
    log = Log()
    auto_stop = loop.watch(StopConditions(StopAfter(seconds=60), 0))
    assert auto_stop.observing(None) is None
    assert auto_stop.observing(log) is log
