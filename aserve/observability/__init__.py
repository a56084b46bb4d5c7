"""What the server reports of its work: the access log."""
