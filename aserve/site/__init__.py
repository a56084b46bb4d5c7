"""From a request to its response: all that touches the disk."""
