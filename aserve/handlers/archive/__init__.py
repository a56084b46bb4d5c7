"""Directories as archives: zip and tar, which can be resumed, and compressed tar."""
