"""Serve a directory whose pages reload when a file changes, and print the path of each file.

python examples/print_changes.py DIR
"""

import json
import sys
import urllib.request

import aserve


def print_changes(directory: str) -> None:
    """Print what changes, until the server or this program is stopped."""
    with (
        aserve.Server(directory, live=True) as server,
        urllib.request.urlopen(f"{server.url}.aserve/live") as events,
    ):
        print(f"open {server.url} and save a file in {directory}", flush=True)
        for line in events:
            name, _, data = line.decode().rstrip().partition(": ")
            if name == "data" and data:
                paths = json.loads(data)  # None: too many to name
                print(*(paths or ["any file"]), sep="\n", flush=True)


if __name__ == "__main__":
    print_changes(sys.argv[1])
