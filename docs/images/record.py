"""Draw docs/images/at-work.svg: both programs in a real terminal, as tmux shows it.

python docs/images/record.py      needs tmux and curl, and port 8000
"""

import re
import subprocess
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

HERE = Path(__file__).parent
SESSION = "at-work"
COLUMNS, ROWS = 100, 46
URL = "http://127.0.0.1:8000"


def tmux(*arguments: str) -> str:
    """Run a tmux command on a separate tmux server; return its output."""
    command = ["tmux", "-L", SESSION, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def screen(pane: str) -> str:
    """Return the text of a pane with its colors."""
    return tmux("capture-pane", "-e", "-p", "-t", pane)


def wait_for(pane: str, pattern: str) -> None:
    """Wait until the text in a pane matches a regular expression, for at most half a minute."""
    for _ in range(300):
        if re.search(pattern, tmux("capture-pane", "-p", "-t", pane).rstrip()):
            return
        time.sleep(0.1)
    raise SystemExit(f"never saw {pattern}:\n{screen(pane)}")


def run(pane: str, command: str) -> None:
    """Type a command at the top of an empty pane."""
    tmux("send-keys", "-t", pane, "clear", "Enter")
    wait_for(pane, r"\A\$\Z")
    tmux("send-keys", "-t", pane, command, "Enter")


def record() -> str:
    """Run both programs and return what was on the screen."""
    shell = ["env", "PS1=$ ", "bash", "--norc", "--noprofile"]
    size = ["-x", str(COLUMNS), "-y", str(ROWS)]
    tmux("new-session", "-d", "-s", SESSION, *size, *shell)
    try:
        tmux("split-window", "-t", SESSION, "-l", "28", *shell)
        server, client = f"{SESSION}:0.0", f"{SESSION}:0.1"
        run(server, "aserve www/")
        wait_for(server, "Ctrl-C")
        for target in ("/", "/style.css", "/guide", "/bells.wav", "/missing"):
            subprocess.run(["curl", "-s", "-o", "/dev/null", URL + target], check=True)
        subprocess.run(["curl", "-s", "-r0-99", "-o", "/dev/null", f"{URL}/bells.wav"], check=True)
        wait_for(server, "206")
        above = screen(server)
        tmux("send-keys", "-t", server, "C-c")
        run(server, "aserve www/ >/dev/null")  # without a terminal, and so without log lines
        wait_for(server, r">/dev/null\naserve")
        subprocess.run(["curl", "-s", "-o", "/dev/null", URL], check=True)
        run(client, f"abench -c 100 -t 10 {URL}/")
        wait_for(client, r"\n\$\Z")  # the prompt behind the report
        below = screen(client).rstrip().removesuffix("$")
        # The path of this working copy does not belong into the picture.
        above = above.replace(str(Path.cwd() / "www"), "www")
        return f"{above.rstrip()}\n\n{below.rstrip()}\n"
    finally:
        tmux("kill-server")


def main() -> None:
    """Record the screen and draw it."""
    text = Text.from_ansi(record())
    with (HERE / "nowhere").open("w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere)
        console.print(text)
    (HERE / "nowhere").unlink()
    svg = console.export_svg(title="aserve and abench", theme=MONOKAI)
    # A viewer of the picture must not contact a font server.
    head, _, tail = svg.partition("@font-face")
    fonts_end = tail.rindex("}", 0, tail.index(".terminal-"))
    svg = head + tail[fonts_end + 1 :] if tail else svg
    (HERE / "at-work.svg").write_text(svg)


main()
