"""The store of links: several processes at once, a kill at any moment, and a bound for everything.

Two stores of one file are two connections to it, as two processes have them.
"""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aserve.shares import store as store_module
from aserve.shares.links import (
    Delivery,
    Link,
    LinkBusyError,
    LinkEndedError,
    Piece,
    StoreError,
)
from aserve.shares.owners import current_owner, is_alive
from aserve.shares.store import KEPT_S, MAX_BEGUN, MAX_UNDER_WAY, ShareStore

NOW = 1_900_000_000
FILE = b"/srv/a.txt"
WHOLE = Piece("v", 100, 0, 100)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "new" / "shares.db"


@pytest.fixture
def store(file: Path) -> Iterator[ShareStore]:
    store = ShareStore(file)
    yield store
    store.close()


def downloads(store: ShareStore) -> list[int]:
    return [link.downloads for link in store.all_links(NOW)]


def piece(start: int, stop: int, version: str = "v") -> Piece:
    return Piece(version, 100, start, stop)


def deliver(store: ShareStore, link: Link, *pieces: Piece) -> None:
    for one in pieces:
        store.end(store.begin(link, one, NOW), one, NOW)


def test_a_link_is_found_by_its_token_alone(store: ShareStore, file: Path) -> None:
    token, link = store.add(FILE, NOW, NOW + 60, 3)
    assert store.find(token, NOW) == link == Link(link.key, FILE, NOW, NOW + 60, 3, 0)
    assert store.find(link.key, NOW) is None
    assert store.find(link.id, NOW) is None
    assert store.find(token[:-1] + "!", NOW) is None
    store.close()
    assert not any(token.encode() in part.read_bytes() for part in file.parent.iterdir())


def test_nobody_else_may_read_the_file(store: ShareStore, file: Path) -> None:
    store.add(FILE, NOW)
    assert {part.stat().st_mode & 0o077 for part in file.parent.iterdir()} == {0}
    assert file.parent.stat().st_mode & 0o077 == 0


def test_a_link_ends_with_its_time(store: ShareStore) -> None:
    token, link = store.add(FILE, NOW, NOW + 60, 1)
    assert store.find(token, NOW + 59)
    assert store.find(token, NOW + 60) is None
    with pytest.raises(LinkEndedError):
        store.begin(link, WHOLE, NOW + 60)
    assert store.all_links(NOW + 60) == [link]


def test_a_link_ends_with_its_last_download(store: ShareStore) -> None:
    token, link = store.add(FILE, NOW, None, 2)
    deliver(store, link, WHOLE)
    assert store.find(token, NOW)
    deliver(store, link, WHOLE)
    assert store.find(token, NOW) is None
    with pytest.raises(LinkEndedError):
        store.begin(link, WHOLE, NOW)


def test_a_link_that_is_revoked_leads_nowhere_and_counts_nothing(store: ShareStore) -> None:
    token, link = store.add(FILE, NOW, None, 2)
    delivery = store.begin(link, WHOLE, NOW)
    assert store.revoke(link.id) == link
    assert store.revoke(link.id) is None
    assert store.find(token, NOW) is None
    store.end(delivery, WHOLE, NOW)
    with pytest.raises(LinkEndedError):
        store.begin(link, WHOLE, NOW)
    assert store.all_links(NOW) == []


def test_no_more_are_under_way_than_are_left(store: ShareStore) -> None:
    _, link = store.add(FILE, NOW, None, 2)
    first, second = (store.begin(link, WHOLE, NOW) for _ in range(2))
    with pytest.raises(LinkBusyError):
        store.begin(link, WHOLE, NOW)
    store.end(first, None, NOW)  # it was truncated
    third = store.begin(link, WHOLE, NOW)
    store.end(second, WHOLE, NOW)
    store.end(third, WHOLE, NOW)
    assert downloads(store) == [2]


def test_the_end_counts_once(store: ShareStore) -> None:
    _, link = store.add(FILE, NOW, None, 5)
    delivery = store.begin(link, WHOLE, NOW)
    for _ in range(3):
        store.end(delivery, WHOLE, NOW)
    assert downloads(store) == [1]


def test_pieces_that_make_a_whole_file_count_once(store: ShareStore) -> None:
    _, link = store.add(FILE, NOW, None, 2)
    deliver(store, link, piece(0, 60), piece(40, 90))
    assert downloads(store) == [0]
    deliver(store, link, piece(90, 100))
    assert downloads(store) == [1]
    deliver(store, link, piece(0, 99))
    assert downloads(store) == [1]


def test_two_in_turn_piece_by_piece_are_two(store: ShareStore) -> None:
    """The last byte of one of them completes it, and then nothing is left for the other."""
    _, link = store.add(FILE, NOW, None, 1)
    deliver(store, link, piece(0, 99), piece(0, 99), piece(99, 100))
    assert downloads(store) == [1]
    with pytest.raises(LinkEndedError):
        store.begin(link, piece(99, 100), NOW)


def test_a_rest_cannot_be_fetched_by_two_at_once(store: ShareStore) -> None:
    _, link = store.add(FILE, NOW, None, 1)
    deliver(store, link, piece(0, 60), piece(0, 60))
    rest = store.begin(link, piece(60, 100), NOW)
    for other in (piece(60, 100), WHOLE):
        with pytest.raises(LinkBusyError):
            store.begin(link, other, NOW)
    store.begin(link, piece(0, 60), NOW)  # which alone completes nothing
    store.end(rest, piece(60, 100), NOW)
    assert downloads(store) == [1]


def test_pieces_of_two_states_make_no_file(store: ShareStore) -> None:
    _, link = store.add(FILE, NOW, None, 2)
    deliver(store, link, piece(0, 60, "old"), piece(60, 100, "new"))
    assert downloads(store) == [0]


def test_files_of_a_folder_count_together(store: ShareStore) -> None:
    _, link = store.add(b"/srv", NOW, None, 2)
    first = store.begin(link, piece(0, 100, "a"), NOW)
    second = store.begin(link, piece(0, 100, "b"), NOW)
    with pytest.raises(LinkBusyError):
        store.begin(link, piece(0, 100, "c"), NOW)
    store.end(first, first.piece, NOW)
    store.end(second, second.piece, NOW)
    assert downloads(store) == [2]


def test_without_a_limit_nothing_is_reserved_and_all_is_counted(store: ShareStore) -> None:
    _, link = store.add(FILE, NOW)
    deliveries = [store.begin(link, WHOLE, NOW) for _ in range(MAX_UNDER_WAY + 10)]
    assert {delivery.number for delivery in deliveries} == {0}
    store.end(deliveries[0], WHOLE, NOW)
    store.end(deliveries[1], None, NOW)
    store.end(deliveries[2], piece(0, 50), NOW)
    store.end(deliveries[3], piece(50, 100), NOW)
    assert downloads(store) == [2]


def test_what_is_kept_of_a_link_is_bounded(store: ShareStore, file: Path) -> None:
    """Of a link with a limit, what is forgotten counts: or the limit could be exceeded by it."""
    for limit, counted in ((None, 0), (1_000, 10)):
        _, link = store.add(b"/srv", NOW, None, limit)
        deliver(store, link, *(piece(0, 99, str(number)) for number in range(MAX_BEGUN + 10)))
        assert [one.downloads for one in store.all_links(NOW) if one.key == link.key] == [counted]
        with sqlite3.connect(file) as database:
            sql = "SELECT count(*) FROM begun WHERE link = ?"
            assert database.execute(sql, (link.key,)).fetchone() == (MAX_BEGUN,)
        database.close()


def test_deliveries_at_once_are_bounded(store: ShareStore) -> None:
    _, link = store.add(FILE, NOW, None, 10_000)
    for _ in range(MAX_UNDER_WAY):
        store.begin(link, WHOLE, NOW)
    with pytest.raises(LinkBusyError):
        store.begin(link, WHOLE, NOW)


def test_links_are_bounded_and_old_ones_are_forgotten(
    store: ShareStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "MAX_LINKS", 2)
    store.add(FILE, NOW, NOW + 60)
    _, link = store.add(FILE, NOW, None, 1)
    deliver(store, link, WHOLE)
    with pytest.raises(StoreError, match="has 2 links: revoke some of them"):
        store.add(FILE, NOW + 60 + KEPT_S - 61)
    _, third = store.add(FILE, NOW + 60 + KEPT_S)
    assert store.all_links(NOW) == [third]


CHILD = """
import os, signal, sys
from pathlib import Path
from aserve.shares.links import Piece
from aserve.shares.store import ShareStore
store = ShareStore(Path(sys.argv[1]))
link = store.find(sys.argv[2], int(sys.argv[3]))
store.begin(link, Piece("v", 100, 0, 100), int(sys.argv[3]))
print("begun", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_process_had_under_way_counts(store: ShareStore, file: Path) -> None:
    """It may have been delivered; while the process lives, it may be given back."""
    token, link = store.add(FILE, NOW, None, 2)
    command = [sys.executable, "-c", CHILD, str(file), token, str(NOW)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline() == b"begun\n"
        assert downloads(store) == [0]
        deliver(store, link, WHOLE)
        with pytest.raises(LinkBusyError):
            store.begin(link, WHOLE, NOW)
        child.kill()
        child.wait()
        with pytest.raises(LinkEndedError):
            store.begin(link, WHOLE, NOW)
    assert downloads(store) == [2]
    assert store.find(token, NOW) is None


def test_what_is_reserved_is_on_the_disk_and_for_counts_nobody_waits(store: ShareStore) -> None:
    _, link = store.add(FILE, NOW, None, 2)
    statements: list[str] = []
    assert store._connection
    store._connection.set_trace_callback(statements.append)

    def modes() -> list[str]:
        found = [one for one in statements if one.startswith("PRAGMA synchronous")]
        statements.clear()
        return found

    delivery = store.begin(link, WHOLE, NOW)
    assert modes() == ["PRAGMA synchronous = FULL"]
    store.end(delivery, WHOLE, NOW)
    assert modes() == ["PRAGMA synchronous = NORMAL"]
    store.revoke(link.id)
    assert modes() == ["PRAGMA synchronous = FULL"]


def test_who_is_alive() -> None:
    assert is_alive(current_owner())
    assert not is_alive("")
    boot, start, pid = current_owner().split()
    assert int(pid) == os.getpid()
    assert not is_alive(f"{boot} {int(start) + 1} {pid}")  # an earlier process of this id
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie
        stat = Path(f"/proc/{child.pid}/stat").read_text().split()
        assert not is_alive(f"{boot} {stat[21]} {child.pid}")


def test_many_at_once_never_exceed_the_limit(file: Path) -> None:
    limit, stores = 20, [ShareStore(file) for _ in range(4)]
    _, link = stores[0].add(FILE, NOW, None, limit)
    delivered: list[Delivery] = []

    def work(store: ShareStore, number: int) -> None:
        for turn in range(12):
            try:
                delivery = store.begin(link, WHOLE, NOW)
            except (LinkBusyError, LinkEndedError):
                continue
            is_whole = (number + turn) % 3 > 0
            if is_whole:
                delivered.append(delivery)
            store.end(delivery, WHOLE if is_whole else None, NOW)
            store.add(FILE, NOW)  # as the command does meanwhile

    threads = [
        threading.Thread(target=work, args=pair) for pair in zip(stores, range(4), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted = [one.downloads for one in stores[0].all_links(NOW) if one.key == link.key]
    assert counted == [len(delivered)]
    assert 0 < len(delivered) <= limit
    for store in stores:
        store.close()


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 9), st.integers(1, 10)).map(lambda pair: ("begin", *pair)),
        st.tuples(st.integers(0, 5), st.integers(0, 10)).map(lambda pair: ("end", *pair)),
    ),
    max_size=14,
)


@settings(max_examples=40, deadline=None)
@given(EVENTS, st.integers(1, 2))
def test_whatever_is_begun_and_cut_off_the_limit_holds(
    events: list[tuple[str, int, int]], limit: int
) -> None:
    """begin: a piece from a byte on, of so many bytes at most. end: which, after how many."""
    with TemporaryDirectory() as directory:
        store = ShareStore(Path(directory) / "shares.db")
        _, link = store.add(FILE, NOW, None, limit)
        delivered = [0] * 10
        under_way: list[Delivery] = []
        for event, number, size in events:
            if event == "begin":
                one = Piece("v", 10, number, min(number + size, 10))
                with suppress(LinkBusyError, LinkEndedError):
                    under_way.append(store.begin(link, one, NOW))
            elif under_way:
                delivery = under_way.pop(number % len(under_way))
                is_whole = size >= delivery.piece.stop - delivery.piece.start
                part = delivery.piece if is_whole else delivery.part(size)
                store.end(delivery, part, NOW)
                for at in range(part.start, part.stop) if part else ():
                    delivered[at] += 1
            assert downloads(store) == [min(delivered)]
            assert min(delivered) <= limit
        store.close()


def test_stores_that_make_the_file_at_once_make_one(file: Path) -> None:
    stores = [ShareStore(file) for _ in range(6)]
    barrier, failures = threading.Barrier(6), []

    def work(store: ShareStore) -> None:
        barrier.wait()
        try:
            store.add(FILE, NOW)
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(stores[0].all_links(NOW)) == 6
    for store in stores:
        store.close()


def test_a_closed_store_is_opened_for_what_comes_late(store: ShareStore) -> None:
    _, link = store.add(FILE, NOW, None, 1)
    delivery = store.begin(link, WHOLE, NOW)
    store.close()
    store.end(delivery, WHOLE, NOW)
    assert downloads(store) == [1]


def test_a_fork_uses_no_connection_of_its_parent(store: ShareStore, file: Path) -> None:
    code = f"""
import os
from pathlib import Path
from aserve.shares.store import ShareStore
store = ShareStore(Path({str(file)!r}))
store.add(b"/srv/a", {NOW})
before = store._connection
if not os.fork():
    store.add(b"/srv/b", {NOW})
    os._exit(store._connection is before)
assert os.wait()[1] == 0
store.add(b"/srv/c", {NOW})
"""
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", code], check=True)
    assert sorted(link.path for link in store.all_links(NOW)) == [b"/srv/a", b"/srv/b", b"/srv/c"]


@pytest.mark.parametrize("content", [b"text that is no database" * 50, None])
def test_what_is_no_store_is_an_error_of_one_line(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "file"
    if content is None:  # another program's database
        database = sqlite3.connect(file)
        database.execute("CREATE TABLE other (id)")
        database.close()
    else:
        file.write_bytes(content)
    before = file.read_bytes()
    with pytest.raises(StoreError) as error:
        ShareStore(file).find("a" * 24, NOW)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)
    assert file.read_bytes() == before
