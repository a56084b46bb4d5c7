"""How many entries a page of a folder has."""

PAGE_SIZE = 1_000
"""How many it has unless the query or the settings say otherwise."""

MAX_PAGE_SIZE = 2_000
"""The most.

Each takes half a kilobyte of memory until its client has read it: with 10,000, a hundred slow
clients held 500 MB.
"""
