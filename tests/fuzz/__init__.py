"""Nobody's idea of a request: streams that are made up, mutated, and read by a second opinion."""
