"""The connections of one process: sockets, responses, schedules."""
