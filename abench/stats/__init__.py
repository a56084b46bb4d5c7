"""What was counted, and what follows from it."""
