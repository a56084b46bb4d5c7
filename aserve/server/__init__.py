"""Server processes: listeners, workers and their supervisor."""
