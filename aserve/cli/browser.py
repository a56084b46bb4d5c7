"""The option --open: the site in the user's browser."""

import subprocess
import sys
import webbrowser

_TEXT_BROWSERS = {"www-browser", "links", "elinks", "lynx", "w3m"}
"""They would take the terminal on which the server prints."""


def open_browser(url: str) -> bool:
    """Start the user's browser, without waiting for it; return False if there is none.

    It is no child of the server, which would have to reap it, and inherits no listening socket.
    """
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    if getattr(browser, "name", "") in _TEXT_BROWSERS:
        return False
    command = (sys.executable, "-m", "webbrowser", url)
    in_background = '"$@" </dev/null >/dev/null 2>&1 &'
    subprocess.run(("/bin/sh", "-c", in_background, "sh", *command), check=True)  # noqa: S603
    return True
