"""The examples of docs/scenarios.md and of `abench run --example`: they run, and have types."""

import asyncio
import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "scenarios.md"
EXAMPLES = {
    "--example": (files("abench.scenario") / "example.py").read_text(),
    **{
        f"page, {number}": code
        for number, code in enumerate(
            re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL), 1
        )
    },
}


def script(peer):
    """Answer each request as the examples expect it."""
    body = json.dumps({"token": "abc"}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    peer.send(head % len(body) + body)


@pytest.mark.parametrize("name", EXAMPLES)
async def test_an_example_can_be_taken_once(name, serve, refused, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    server = await serve(script)
    (tmp_path / "shop.py").write_text(EXAMPLES[name])
    (tmp_path / "accounts.csv").write_text("name\nann\nbob\n")
    arguments = ("run", str(tmp_path / "shop.py"), server.url, "--once")
    completed = await asyncio.to_thread(refused, *arguments)
    assert completed.code == 0, completed.out
    assert server.requests


WRONG = """
from abench import User
async def visit(user: User) -> None:
    response = await user.get("/", params="q")
    response.stats
    await user.get("/", data="x")
"""


@pytest.mark.slow
def test_a_type_checker_knows_users_and_responses(tmp_path):
    """It finds nothing wrong in the examples, and what is wrong in another file."""
    for number, code in enumerate(EXAMPLES.values()):
        (tmp_path / f"shop{number}.py").write_text(code)
    (tmp_path / "wrong.py").write_text(WRONG.lstrip())
    command = [sys.executable, "-m", "mypy", "--strict", *sorted(tmp_path.glob("*.py"))]
    checked = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert re.findall(r"^(\w+\.py:\d+): error", checked.stdout, re.MULTILINE) == [
        "wrong.py:3",
        "wrong.py:4",
        "wrong.py:5",
    ]
