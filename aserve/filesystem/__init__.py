"""Files below the root, and every rule about their paths."""
