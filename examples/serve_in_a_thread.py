"""Serve a directory from a program without an event loop: the server runs in a thread.

python examples/serve_in_a_thread.py DIR
"""

import sys
import urllib.request

import aserve


def check(directory: str) -> int:
    """Return the status of the directory's first page."""
    with aserve.Server(directory) as server, urllib.request.urlopen(server.url) as page:
        print(f"{server.url} is {page.status}, {len(page.read())} bytes")
        return page.status


if __name__ == "__main__":
    sys.exit(0 if check(sys.argv[1]) == 200 else 1)
