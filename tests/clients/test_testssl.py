"""testssl.sh, which looks for what is weak in a server's TLS."""

import json
import shutil
from pathlib import Path

import pytest

from tests.clients.https_places import place
from tests.clients.running import run, skip_missing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]  # it waits for several answers

CHECKS = ("-p", "-s", "-f", "-R", "-C", "-O", "-Z", "-A", "-L")
"""Versions, ciphers, forward secrecy; renegotiation, CRIME, POODLE, fallback, BEAST, LUCKY13."""
FINE = {"OK", "INFO", "WARN"}  # a warning is about testssl.sh itself


def test_nothing_is_found_that_is_worse_than_worth_knowing(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    report = tmp_path / "report.json"
    tool = shutil.which("testssl") or skip_missing("testssl (apt-get install testssl.sh)")
    with place("direct", tmp_path / "root", tmp_path / "place") as running:
        usual = ("--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1")
        trust = ("--add-ca", running.authority, "--jsonfile", report)
        ended = run(tool, *usual, *trust, *CHECKS, running.url, timeout=300)
    findings = {one["id"]: one for one in json.loads(report.read_text())}
    assert findings["TLS1_3"]["severity"] == "OK", ended.stdout
    assert findings["SSLv3"]["finding"] == "not offered"
    assert [one for one in findings.values() if one["severity"] not in FINE] == []
