"""Prefork: several processes, forked at the start, that all wait in accept on one socket.

The kernel wakes up one of them for each client. Each is an iterative server, so there are as many
clients at a time as processes; the others wait in the kernel's queue.

The workers of the other models have a socket each instead, among which the kernel distributes the
clients: no process can take a client from another one's queue, and none waits in accept.
"""

from aserve.transport.models.iterative import IterativeServer


class PreforkServer(IterativeServer):
    """One of the processes. The supervisor forks them, and replaces one that dies."""
