"""Links to one file or folder that end: by time, by downloads, or revoked. Without HTTP."""
