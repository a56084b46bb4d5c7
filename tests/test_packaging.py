"""The two programs, what is installed with them, and the commands of make."""

import importlib.metadata
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()  # PEP 503


def name_of(requirement: str) -> str:
    return normalized(re.match(r"[\w.-]+", requirement)[0])


def test_no_text_recommends_another_projects_package() -> None:
    texts = [
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "abench").rglob("*.py"),
        *(ROOT / "aserve").rglob("*.py"),
        ROOT / "README.md",
    ]
    recommended = re.compile(r"pip install [^`\n]*\b(?:aserve|abench)\b(?!-http)")
    assert [path for path in texts if recommended.search(path.read_text())] == []


@pytest.mark.slow
@pytest.mark.parametrize("program", ["aserve", "abench"])
def test_each_program_prints_its_version_both_ways(program: str) -> None:
    script = shutil.which(program, path=Path(sys.executable).parent)
    outputs = {
        subprocess.run([*command, "--version"], check=True, capture_output=True, text=True).stdout
        for command in ([script], [sys.executable, "-m", program])
    }
    assert outputs == {f"{program} {importlib.metadata.version(PROJECT['project']['name'])}\n"}


# Sends SIGINT to itself as soon as the program's command line is imported.
INTERRUPTED = """
import os, runpy, signal, sys

class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == "{program}.cli":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupter())
runpy.run_module("{program}", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("program", ["aserve", "abench"])
def test_a_program_interrupted_at_its_start_prints_nothing(program: str) -> None:
    code = INTERRUPTED.format(program=program)
    completed = subprocess.run(
        [sys.executable, "-c", code, "--version"],
        check=False,
        capture_output=True,
        # In the background of a script it is ignored, and would stay so in the program.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (completed.returncode, completed.stdout, completed.stderr) == (-signal.SIGINT, b"", b"")


def test_constraints_pin_every_dependency() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.!+]+", pin) for pin in pins)  # no hashes, no addresses
    groups = PROJECT["dependency-groups"].values()
    named = [
        *PROJECT["build-system"]["requires"],
        *PROJECT["project"]["dependencies"],
        *(entry for group in groups for entry in group if isinstance(entry, str)),
    ]
    assert {name_of(entry) for entry in named} <= {name_of(pin) for pin in pins}


def test_make_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):(?! export)", text, re.MULTILINE)
    assert set(re.search(r"^\.PHONY: (.*)", text, re.MULTILINE)[1].split()) == set(targets)
    output = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert re.findall(r"^make ([a-z-]+) ", output, re.MULTILINE) == targets
    assert targets[1:4] == ["run", "test", "check"]  # what newcomers need comes first
