"""Print what is in a folder that aserve serves: all pages of it, newest first.

python examples/read_a_listing.py http://localhost:8000/ ['*.pdf']
"""

import json
import re
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any


def entries(folder: str, pattern: str = "") -> Iterator[dict[str, Any]]:
    """Yield the entries of a folder; only those whose name matches a pattern, if there is one."""
    query = urllib.parse.urlencode(
        {"format": "json", "sort": "time", "order": "desc", "q": pattern}
    )
    url = urllib.parse.urljoin(folder, f"?{query}")
    while url:
        with urllib.request.urlopen(url) as response:
            yield from json.load(response)["entries"]
            following = re.search(r'<([^>]+)>; rel="next"', response.headers.get("Link", ""))
        url = urllib.parse.urljoin(url, following[1]) if following else ""


if __name__ == "__main__":
    folder = sys.argv[1]
    for entry in entries(*sys.argv[1:]):
        size = "folder" if entry["size"] is None else f"{entry['size']:,}"
        print(f"{entry['modified'][:10]} {size:>15}  {urllib.parse.urljoin(folder, entry['url'])}")
