"""How often epoll reports a socket: level-triggered, edge-triggered, and once."""

import select
import socket

TRIGGERS = {
    "level": select.EPOLLIN,
    "edge": select.EPOLLIN | select.EPOLLET,
    "oneshot": select.EPOLLIN | select.EPOLLONESHOT,
}


def reports(events: int) -> list[int]:
    """Return, for each moment of HEADINGS, how many sockets epoll reports without waiting."""
    here, there = socket.socketpair()
    with here, there, select.epoll() as poller:
        poller.register(here, events)
        there.send(b"ab")
        counts = [len(poller.poll(0)), len(poller.poll(0))]
        here.recv(1)
        counts.append(len(poller.poll(0)))
        there.send(b"c")
        counts += [len(poller.poll(0)), len(poller.poll(0))]
        poller.modify(here, events)
        return [*counts, len(poller.poll(0))]


HEADINGS = ("2 bytes", "again", "1 read", "1 more", "again", "modify")

if __name__ == "__main__":
    print(f"{'':8}", *(f"{heading:>8}" for heading in HEADINGS))
    for name, events in TRIGGERS.items():
        print(f"{name:8}", *(f"{count:8}" for count in reports(events)))
