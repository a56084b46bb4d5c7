"""One process and many: sockets, workers, their supervisor."""
