"""What the operating system says: counters, processors, the environment."""
