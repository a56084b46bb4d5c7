"""What the server says about its work."""
