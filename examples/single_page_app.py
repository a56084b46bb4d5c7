"""Check that a build works where it is deployed: routes get its page, missing files get 404.

python single_page_app.py dist/
"""

import sys
import urllib.error
import urllib.request

import aserve


def status(url: str, mode: str) -> int:
    request = urllib.request.Request(url, headers={"Sec-Fetch-Mode": mode})
    try:
        with urllib.request.urlopen(request) as response:
            return response.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def main() -> int:
    build = sys.argv[1] if sys.argv[1:] else "dist"
    with aserve.Server(build, spa="index.html") as server:
        route = status(server.url + "users/7", "navigate")
        asset = status(server.url + "assets/gone.js", "no-cors")
    print(f"a route: {route}, a missing script: {asset}")
    return int((route, asset) != (200, 404))


if __name__ == "__main__":
    sys.exit(main())
