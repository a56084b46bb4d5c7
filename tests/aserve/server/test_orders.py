"""Orders to workers: a reply that comes too late belongs to its own order and to no other."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from aserve.config.settings import Settings
from aserve.server import orders
from aserve.server.orders import Kind, OrderReceiver, ReloadError, WorkerLink, reload_workers
from aserve.server.process import LoopProcess

if TYPE_CHECKING:
    from aserve.server.reload import ReloadableWorker


@pytest.fixture
def ends() -> Iterator[tuple[WorkerLink, OrderReceiver]]:
    link, receiver = WorkerLink.pair()
    receiver.reply_started()
    yield link, receiver
    link.close()
    receiver.close()


def receive(receiver: OrderReceiver) -> orders.Order:
    order = receiver.receive()
    assert order
    return order


def test_a_late_reply_is_not_taken_for_that_to_the_next_order(
    ends: tuple[WorkerLink, OrderReceiver], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, receiver = ends
    settings = Settings(tmp_path)
    monkeypatch.setattr(orders, "_TIMEOUT_S", 0)
    assert link.wait_started() == ""
    with pytest.raises(ReloadError, match="has not replied"):
        reload_workers([(link, settings)])
    for kind in (Kind.PREPARE, Kind.DISCARD):
        order = receive(receiver)
        assert order.kind is kind
        receiver.reply(order)
    monkeypatch.setattr(orders, "_TIMEOUT_S", 60)

    def refuse() -> None:
        receiver.reply(receive(receiver), "no such root")

    worker = threading.Thread(target=refuse)
    worker.start()
    with pytest.raises(ReloadError, match="no such root"):
        reload_workers([(link, settings)])
    worker.join()


class SlowWorker:
    """Prepares until it is told to go on, and records what it does."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.go_on = asyncio.Event()

    async def prepare(self, _settings: Settings) -> None:
        await self.go_on.wait()
        self.done.append("prepare")

    async def commit(self) -> None:
        self.done.append("commit")

    def discard(self) -> None:
        self.done.append("discard")


async def test_orders_are_carried_out_one_after_the_other(
    ends: tuple[WorkerLink, OrderReceiver], tmp_path: Path
) -> None:
    link, receiver = ends
    slow = SlowWorker()
    process = LoopProcess(cast("ReloadableWorker", slow), receiver)
    link.send_settings(Settings(tmp_path))
    first = asyncio.create_task(process._obey(receive(receiver), receiver))
    link.send(Kind.DISCARD)
    second = asyncio.create_task(process._obey(receive(receiver), receiver))
    await asyncio.sleep(0)
    slow.go_on.set()
    await asyncio.gather(first, second)
    assert slow.done == ["prepare", "discard"]
