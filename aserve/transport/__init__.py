"""How bytes move: sockets, event loops, threads and completion queues."""
