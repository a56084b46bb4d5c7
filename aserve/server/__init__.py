"""One process and many: listeners, workers, their supervisor."""
