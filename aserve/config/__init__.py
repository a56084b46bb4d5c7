"""What can be set, checked once, before anything is started."""
