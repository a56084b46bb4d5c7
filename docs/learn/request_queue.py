"""A bounded request queue: a lock, and two conditions on which threads sleep."""

import threading
from collections import deque

STOP = "stop"


class RequestQueue:
    """What one thread puts, others get, in the same order."""

    def __init__(self, size: int) -> None:
        self.size, self.requests = size, deque[str]()
        lock = threading.Lock()
        self.not_empty, self.not_full = threading.Condition(lock), threading.Condition(lock)

    def put(self, request: str) -> None:
        """Add a request; sleep while the queue is full."""
        with self.not_full:
            while len(self.requests) == self.size:
                self.not_full.wait()
            self.requests.append(request)
            self.not_empty.notify()

    def try_put(self, request: str) -> bool:
        """Add a request if there is room; otherwise it is time for a 503."""
        with self.not_full:
            if has_room := len(self.requests) < self.size:
                self.requests.append(request)
                self.not_empty.notify()
            return has_room

    def get(self) -> str:
        """Take the oldest request; sleep while there is none."""
        with self.not_empty:
            while not self.requests:  # another worker may have been faster: look again
                self.not_empty.wait()
            self.not_full.notify()
            return self.requests.popleft()


def work(requests: RequestQueue, done: list[str]) -> None:
    """Take requests until there are no more: what each worker does."""
    while (request := requests.get()) != STOP:
        done.append(request)


if __name__ == "__main__":
    requests, done = RequestQueue(size=2), list[str]()
    for name in "abc":
        print(name, "waits in the queue" if requests.try_put(name) else "gets 503: it is full")
    workers = [threading.Thread(target=work, args=(requests, done)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for name in ("d", "e", STOP, STOP):
        requests.put(name)  # sleeps whenever two are waiting
    for worker in workers:
        worker.join()
    print("done:", *sorted(done))
