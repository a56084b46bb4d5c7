"""The hooks of pre-commit: programs of the environment, which find what they should."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAMS = Path(sys.executable).parent


def test_each_hook_runs_a_program_of_the_environment():
    config = ROOT / ".pre-commit-config.yaml"
    subprocess.run([PROGRAMS / "pre-commit", "validate-config", config], check=True)
    text = config.read_text()
    names = re.findall(r"^ +entry: \.venv/bin/(\S+)", text, re.MULTILINE)
    assert len(names) == text.count("- id: ") == text.count("language: system")
    assert [name for name in names if not (PROGRAMS / name).exists()] == []


def run_hooks(checkout):
    """Run every hook on every file; return the exit code and the hooks that failed."""
    command = [PROGRAMS / "pre-commit", "run", "--all-files"]
    completed = subprocess.run(command, check=False, cwd=checkout, capture_output=True, text=True)
    failed = re.findall(r"^(.*?)\.\.+Failed$", completed.stdout, re.MULTILINE)
    return completed.returncode, failed, completed.stdout


@pytest.mark.slow
def test_hooks_accept_every_file_and_reject_a_bad_one(tmp_path):
    checkout = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, checkout], check=True)
    (checkout / ".venv").symlink_to(sys.prefix)
    status, _, output = run_hooks(checkout)
    assert status == 0, output
    misspelled = "t" + "eh"  # in parts, or this file would be a bad one
    (checkout / "bad.py").write_text(f'import os\nprint( "{misspelled}" )\n<<<<<<< HEAD\n')
    (checkout / "bad.txt").write_text("no line end")
    (checkout / "bad.bin").write_bytes(bytes(500_001))
    subprocess.run(["git", "add", "bad.py", "bad.txt", "bad.bin"], cwd=checkout, check=True)
    status, failed, output = run_hooks(checkout)
    assert status == 1
    names = re.findall(r"name: (.+)", (checkout / ".pre-commit-config.yaml").read_text())
    assert sorted(failed) == sorted(names), output
