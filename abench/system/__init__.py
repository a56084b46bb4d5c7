"""What the operating system tells: counters, processors, processes."""
