"""Files below the root directory, and the rules about their paths."""
