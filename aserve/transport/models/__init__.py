"""The teaching I/O models: one file for each, all on the same SocketConnection."""
